"""How well the latency model predicts architectures that it has never seen.

    python benchmarks/latency_model.py --picture docs/latency-model.png
    python benchmarks/latency_model.py --runtime eager

Uses the profile that `octnas profile` left in the cache, or makes one. Random members of the space, spread
over its backbones and costs and drawn with another seed than the networks of the profile, are deployed and
timed, a handful at a time in turns; predicted and measured latency are compared. GFLOPs, 10^9 multiply-adds,
stand beside it: the best line through them, fitted to the very networks it is judged by.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import processor, versions
from scipy.stats import spearmanr

from octnas import load_space
from octnas.architecture import Architecture
from octnas.costs.latency import DeviceProfile
from octnas.space import SearchSpace
from octnas.timing.measure import Runner, interleaved
from octnas.timing.profile import cached_profile, profile, random_networks
from octnas.timing.profile_report import profile_progress
from octnas.timing.runtimes import as_runtime, make_runner, torch_threads

SEED = 2024
"""The correction's networks are drawn with 0."""
HANDFUL = 8
ROUNDS = 30
AIMS = {"median": 4.0, "worst": 12.0, "rank": 0.95}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One architecture."""

    architecture: Architecture
    gflops: float
    predicted: float
    """Milliseconds, as is `measured`."""
    measured: float
    spread: float
    """Distance of the measured quartiles as a share of the median."""

    @property
    def error(self) -> float:
        """Signed, in per cent of the measured."""
        return 100 * (self.predicted / self.measured - 1)


def measure(
    space: SearchSpace, model: DeviceProfile, archs: Sequence[Architecture]
) -> tuple[list[Row], list[float]]:
    """Times every architecture, deployed in the forms that the model chooses.

    Returns:
        A row for each, and what one and the same plain network took with every handful, in ms: how far the
        machine itself moved.
    """
    target = space.target
    shape = target.channels, target.input_size, target.input_size

    def runner(arch: Architecture) -> Runner:
        return make_runner(
            arch,
            runtime=as_runtime(model.runtime),
            threads=model.threads,
            batch=model.batch,
            input_shape=shape,
            num_classes=target.classes,
            times=model.op_ms,
        )

    rows: list[Row] = []
    reference: list[float] = []
    with torch_threads(model.threads):
        plain = runner(space.uniform(space.backbones[0], 0))
        for start in range(0, len(archs), HANDFUL):
            some = archs[start : start + HANDFUL]
            runners = {"reference": plain, **{arch.digest: runner(arch) for arch in some}}
            times = interleaved(runners, rounds=ROUNDS)
            reference.append(times["reference"].median)
            for arch in some:
                low, high = times[arch.digest].quartiles
                median = times[arch.digest].median
                rows.append(
                    Row(
                        architecture=arch,
                        gflops=space.gflops(arch),
                        predicted=model.latency_ms(arch, shape, target.classes),
                        measured=median,
                        spread=(high - low) / median,
                    )
                )
    return rows, reference


def errors_table(rows: Sequence[Row]) -> list[str]:
    """Errors and rank correlations, of the model and of GFLOPs."""
    measured = np.array([row.measured for row in rows])
    gflops = np.array([row.gflops for row in rows])
    slope, constant = np.polyfit(gflops, measured, 1, w=1 / measured)
    estimates = {
        "the profile": np.array([row.predicted for row in rows]),
        "a line through GFLOPs": slope * gflops + constant,
    }
    lines = [
        "| predicted by | median error | worst error | mean signed error | rank correlation (Spearman) |",
        "|---|---|---|---|---|",
    ]
    for name, predicted in estimates.items():
        error = 100 * (predicted / measured - 1)
        rank = spearmanr(predicted, measured).statistic
        lines.append(
            f"| {name} | {np.median(abs(error)):.1f} % | {abs(error).max():.1f} % | {error.mean():+.1f} % "
            f"| {rank:.3f} |"
        )
    lines.append(f"| aims | {AIMS['median']:g} % | {AIMS['worst']:g} % | | {AIMS['rank']:g} |")
    return lines


def backbones_table(rows: Sequence[Row]) -> list[str]:
    """The same by backbone, for the profile."""
    lines = [
        "| backbone | architectures | measured, ms | median error | worst error | mean signed error "
        "| rank correlation |",
        "|---|---|---|---|---|---|---|",
    ]
    for backbone in dict.fromkeys(row.architecture.backbone for row in rows):
        own = [row for row in rows if row.architecture.backbone == backbone]
        errors, measured = np.array([row.error for row in own]), [row.measured for row in own]
        rank = spearmanr([row.predicted for row in own], measured).statistic
        lines.append(
            f"| {backbone} | {len(own)} | {min(measured):.1f} to {max(measured):.1f} "
            f"| {np.median(abs(errors)):.1f} % | {abs(errors).max():.1f} % | {errors.mean():+.1f} % "
            f"| {rank:.3f} |"
        )
    return lines


def report(space: SearchSpace, model: DeviceProfile, rows: Sequence[Row], reference: Sequence[float]) -> str:
    """What was measured on what, and the tables."""
    error = model.error
    spread = 100 * float(np.median([row.spread for row in rows]))
    packages = ("onnxruntime",) if model.runtime == "onnxruntime" else ("torch",)
    threads = f"{model.threads} {'thread' if model.threads == 1 else 'threads'}"
    head = (
        f"{len(rows)} random architectures of {space.name}, {model.runtime}, {threads}, batch {model.batch}. "
        f"{processor()}; {versions(*packages)}. The profile: {len(model.times)} operations and "
        f"{error.networks} networks in {model.seconds:.0f} s, error on these (each by a fit to the others) "
        f"median {error.median_percent:.1f} %, worst {error.worst_percent:.1f} %. Measured: medians of "
        f"{ROUNDS} rounds, whose middle half is {spread:.1f} % wide. Plain {space.backbones[0]}, "
        f"timed with every handful of {HANDFUL}, took {min(reference):.2f} to {max(reference):.2f} ms."
    )
    return "\n".join([head, "", *errors_table(rows), "", *backbones_table(rows)])


def draw(rows: Sequence[Row], title: str, path: Path) -> None:
    """Predicted against measured latency, and the error by measured latency."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
    for backbone in dict.fromkeys(row.architecture.backbone for row in rows):
        own = [row for row in rows if row.architecture.backbone == backbone]
        measured = [row.measured for row in own]
        left.scatter(measured, [row.predicted for row in own], label=backbone, s=22, alpha=0.8)
        right.scatter(measured, [row.error for row in own], s=22, alpha=0.8)
    ends = [min(row.measured for row in rows), max(row.measured for row in rows)]
    left.plot(ends, ends, color="black", lw=0.8, label="equal")
    left.set_ylabel("predicted latency, ms")
    left.legend(frameon=False)
    right.axhline(0, color="black", lw=0.8)
    for aim in (-AIMS["median"], AIMS["median"]):
        right.axhline(aim, color="gray", lw=0.8, ls="--")
    words = f"aim for the median: {AIMS['median']:g} %"
    right.annotate(words, (ends[1], AIMS["median"]), ha="right", va="bottom", fontsize=8, color="gray")
    right.set_ylabel("predicted less measured, % of measured")
    for axes in (left, right):
        axes.set_xlabel("measured latency, ms")
        axes.grid(alpha=0.3)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="imagenet-2d")
    parser.add_argument("--runtime", choices=("onnxruntime", "eager", "compile"), default="onnxruntime")
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--picture", type=Path, help="write a scatter plot, a PNG, there")
    given = parser.parse_args()
    space = load_space(given.space)
    model = cached_profile(space, runtime=given.runtime)
    if model is None:
        with profile_progress() as progress:
            model = profile(space, runtime=given.runtime, progress=progress)
    rows, reference = measure(space, model, random_networks(space, given.networks, given.seed))
    print(report(space, model, rows, reference))
    if given.picture is not None:
        title = (
            f"{len(rows)} unseen architectures of {space.name}: {given.runtime}, {model.threads} thread, "
            f"batch {model.batch}, {processor()}"
        )
        draw(rows, title, given.picture)


if __name__ == "__main__":
    main()
