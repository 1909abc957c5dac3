"""Which proxy tells architectures apart: signal-to-noise ratios of candidate proxies.

    python benchmarks/signal_to_noise.py --out docs/signal-to-noise.md
    python benchmarks/signal_to_noise.py --proxy name=a,data=glyphs,width=16,steps=500 --proxy name=b,data=...

Each proxy trains the same architectures of one backbone (pooled downsampling, so that pooling confounds
nothing) with the same seeds; one seed gives all architectures the same initial weights and the same images in
the same order. With Y[a, s] the score of architecture a and seed s,

    noise^2  = sum of (Y[a, s] - mean_s Y[a] - mean_a Y[s] + mean Y)^2 / ((A - 1) (S - 1))
    signal^2 = variance over a of mean_s Y[a], less noise^2 / S (never below 0)

and the ratio is signal / noise. Finished trainings are kept as JSON lines in --store, so that a run that was
cut off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from octnas.architecture import Architecture
from octnas.backbones import layer_table
from octnas.costs import cost

ALPHAS = (0.0, 0.25, 0.5, 0.75)
TARGET_WIDTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One proxy on trial."""

    name: str
    data: str = "glyphs"
    width: int = 16
    steps: int = 500
    train_images: int | None = None
    batch_size: int = 32
    optimizer: str = "adamw"
    learning_rate: float = 0.004
    weight_decay: float = 0.05
    label_smoothing: float = 0.0


CANDIDATES = (
    Candidate(name="glyphs, width 16"),
    Candidate(name="glyphs, width 8", width=8, steps=700),
    Candidate(name="fashion-sample, width 16", data="fashion-sample"),
    Candidate(name="glyphs, width 8, longer", width=8, steps=1200),
)
"""Under a minute a training each, on one core with AVX512-BF16."""
EVALUATIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training."""

    candidate: Candidate
    label: str
    architecture: str
    """JSON of the target's architecture."""
    seed: int

    @property
    def key(self) -> str:
        """Equal for equal trainings."""
        settings = {key: value for key, value in asdict(self.candidate).items() if key != "name"}
        return json.dumps([settings, json.loads(self.architecture), self.seed], sort_keys=True)


def architectures(backbone: str, randoms: int) -> dict[str, Architecture]:
    """Uniform, early, late and random ones, by label; the random ones as the default space draws them."""
    slots = layer_table(backbone).slots
    by_stage = {f"uniform {alpha:g}": dict.fromkeys(range(1, 5), alpha) for alpha in ALPHAS}
    by_stage["late .75"] = {1: 0.0, 2: 0.0, 3: 0.75, 4: 0.0}
    by_stage["early .75"] = {1: 0.75, 2: 0.0, 3: 0.0, 4: 0.0}
    alphas = {label: [stages[slot.stage] for slot in slots] for label, stages in by_stage.items()}
    rng = np.random.default_rng(0)
    for number in range(randoms):
        levels = {stage: int(rng.integers(len(ALPHAS))) for stage in range(1, 5)}
        steps = [levels[slot.stage] + int(rng.integers(-1, 2)) for slot in slots]
        alphas[f"random {number + 1}"] = [ALPHAS[min(max(step, 0), len(ALPHAS) - 1)] for step in steps]
    return {
        label: Architecture.from_alphas(backbone, alphas=values, downsample="pooled", width=TARGET_WIDTH)
        for label, values in alphas.items()
    }


@lru_cache(maxsize=2)
def _images(name: str) -> Any:
    from octnas.data import load_images

    return load_images(name, size=32)


def run(job: Job) -> dict[str, Any]:
    """Trains with one thread; the scores are of all validation images."""
    from octnas.train import ProxyTraining, TrainSettings

    candidate = job.candidate
    settings = TrainSettings(
        steps=candidate.steps,
        evaluations=EVALUATIONS,
        batch_size=candidate.batch_size,
        augment=False,
        optimizer=cast(Any, candidate.optimizer),
        learning_rate=candidate.learning_rate,
        weight_decay=candidate.weight_decay,
        label_smoothing=candidate.label_smoothing,
        train_images=candidate.train_images,
        val_images=500,
    )
    architecture = Architecture.from_json(job.architecture).rescaled(width=candidate.width, stem="small")
    images = _images(candidate.data)
    begin = time.perf_counter()
    training = ProxyTraining(architecture, images, settings, seed=job.seed)
    scores = [training.run_epoch(full_validation=n + 1 == EVALUATIONS) for n in range(EVALUATIONS)]
    return {
        "key": job.key,
        "candidate": candidate.name,
        "label": job.label,
        "seed": job.seed,
        "accuracy": scores[-1].accuracy,
        "loss": scores[-1].loss,
        "epochs": [score.to_dict() for score in scores],
        "seconds": time.perf_counter() - begin,
    }


def run_all(jobs: Sequence[Job], *, store: Path, processes: int, minutes: float) -> dict[str, dict[str, Any]]:
    """Trains what the store lacks, two or more at a time, until the minutes are over; all results by key."""
    done = {row["key"]: row for row in _rows(store)}
    waiting = [job for job in jobs if job.key not in done]
    deadline = time.monotonic() + 60 * minutes
    store.parent.mkdir(parents=True, exist_ok=True)
    running: set[Future[dict[str, Any]]] = set()
    longest = 0.0
    with (
        ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool,
        store.open("a", encoding="utf-8") as lines,
    ):
        while waiting or running:
            while waiting and len(running) < processes and time.monotonic() + longest < deadline:
                running.add(pool.submit(run, waiting.pop(0)))
            if not running:
                print(f"time is up: {len(waiting)} trainings are left for another run")
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                row = future.result()
                done[row["key"]] = row
                longest = max(longest, row["seconds"])
                lines.write(json.dumps(row) + "\n")
                lines.flush()
                reached = f"accuracy {row['accuracy']:.4f}, loss {row['loss']:.4f}, {row['seconds']:.0f} s"
                print(f"{row['candidate']}, {row['label']}, seed {row['seed']}: {reached}", flush=True)
    return done


def _rows(store: Path) -> Iterable[dict[str, Any]]:
    for line in store.read_text(encoding="utf-8").splitlines() if store.exists() else ():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            # The last line of a run that was cut off; its training is simply done again.
            print(f"{store}: an incomplete line is left out")


def signal_and_noise(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Standard deviations between architectures (rows) and between seeds (columns), as in the heading."""
    rows, columns = scores.shape
    rest = scores - scores.mean(1, keepdims=True) - scores.mean(0) + scores.mean()
    noise = float((rest**2).sum() / ((rows - 1) * (columns - 1)))
    signal = max(0.0, float(scores.mean(1).var(ddof=1)) - noise / columns)
    return signal**0.5, noise**0.5


def report(
    candidates: Sequence[Candidate],
    archs: dict[str, Architecture],
    seeds: int,
    done: dict[str, dict[str, Any]],
    backbone: str,
) -> str:
    """Markdown: one row a proxy, then the means of each architecture."""
    head = [
        f"{len(archs)} architectures of {backbone}, pooled downsampling, {seeds} paired seeds. Ratio: spread "
        "between architectures (seed noise taken out) over spread between seeds.\n",
        "| proxy | settings | ratio by accuracy | ratio by loss | accuracy: signal / noise, points "
        "| loss: signal / noise | seconds a training |",
        "|---|---|---|---|---|---|---|",
    ]
    detail: list[str] = []
    for candidate in candidates:
        grid = [
            [
                done.get(Job(candidate=candidate, label=label, architecture=arch.to_json(), seed=seed).key)
                for seed in range(seeds)
            ]
            for label, arch in archs.items()
        ]
        whole = [seed for seed in range(seeds) if all(row[seed] is not None for row in grid)]
        settings = ", ".join(
            f"{key} {value}"
            for key, value in asdict(candidate).items()
            if key != "name" and value is not None
        )
        if len(whole) < 2:
            head.append(f"| {candidate.name} | {settings} | - | - | - | - | {len(whole)} seeds finished |")
            continue
        rows = [[row[seed] or {} for seed in whole] for row in grid]
        values = {
            key: np.array([[cell[key] for cell in row] for row in rows], np.float64)
            for key in ("accuracy", "loss", "seconds")
        }
        (signal_a, noise_a), (signal_l, noise_l) = (
            signal_and_noise(values[key]) for key in ("accuracy", "loss")
        )
        head.append(
            f"| {candidate.name} | {settings} | {signal_a / noise_a:.2f} | {signal_l / noise_l:.2f} "
            f"| {100 * signal_a:.2f} / {100 * noise_a:.2f} | {signal_l:.4f} / {noise_l:.4f} "
            f"| {values['seconds'].mean():.0f} |"
        )
        detail += [f"\n### {candidate.name}: means over {len(whole)} seeds\n"]
        detail += [
            "| architecture | target GFLOPs (10^9 multiply-adds) | accuracy | loss |",
            "|---|---|---|---|",
        ]
        detail += [
            f"| {label} | {cost(arch).gflops:.3f} | {100 * accuracy:.2f} % | {loss:.4f} |"
            for (label, arch), accuracy, loss in zip(
                archs.items(), values["accuracy"].mean(1), values["loss"].mean(1), strict=True
            )
        ]
    return "\n".join(head + detail) + "\n"


def parse_candidate(text: str) -> Candidate:
    """A candidate from "name=a,data=glyphs,width=16"; the keys are the fields of `Candidate`."""
    types = {field.name: str(field.type) for field in fields(Candidate)}
    values: dict[str, Any] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key not in types:
            raise argparse.ArgumentTypeError(f"{key!r} is none of {', '.join(types)}")
        kind = float if types[key] == "float" else str if types[key] == "str" else int
        values[key] = kind(value)
    if "name" not in values:
        values["name"] = text
    return Candidate(**values)


def main() -> None:
    """Parses, trains, prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--proxy", type=parse_candidate, action="append", help="up to four; default: built in"
    )
    parser.add_argument("--backbone", default="resnet26")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--random", type=int, default=2, help="random architectures beside the six regular ones"
    )
    parser.add_argument("--processes", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--minutes", type=float, default=40.0, help="begin no training that would end later")
    parser.add_argument("--store", type=Path, default=Path("signal-to-noise.jsonl"))
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    given = parser.parse_args()
    candidates: Sequence[Candidate] = given.proxy or CANDIDATES
    if len(candidates) > 4:
        parser.error(f"at most four proxies are compared, but got {len(candidates)}")
    archs = architectures(given.backbone, given.random)
    # Seeds last: a run that is cut off has whole seeds of all proxies rather than all seeds of some.
    jobs = [
        Job(candidate=candidate, label=label, architecture=arch.to_json(), seed=seed)
        for seed in range(given.seeds)
        for candidate in candidates
        for label, arch in archs.items()
    ]
    done = run_all(jobs, store=given.store, processes=given.processes, minutes=given.minutes)
    text = report(candidates, archs, given.seeds, done, given.backbone)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(text, encoding="utf-8")
    print(f"\n{text}")


if __name__ == "__main__":
    main()
