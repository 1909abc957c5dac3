"""Speed of proxy trainings by memory layout and number format, and what the fastest costs in accuracy.

    python benchmarks/training_speed.py
    python benchmarks/training_speed.py --accuracy --seeds 5

Both take the proxy of a search space as it stands (--space), with one thread as in a search. The first prints
images a second, whole training steps: batch, augmentation, forward, backward, optimiser. Plain and alpha 0.5
networks are timed in turns, so that a machine that slows down slows all rows; each figure is the median of
the repeats.

The second trains alpha 0.5 to the end once in float32 with torch's default layout and once with the number
format and layout that octnas chooses here, for each seed, and prints the mean difference of the paired
seeds with its 95 % interval (Student's t).
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from machine import processor, versions

from octnas import SearchSpace, load_space
from octnas.architecture import Architecture
from octnas.data import ImageSet, load_images
from octnas.train import ProxyTraining, TrainSettings, choose_device, mode_of, settings_from_proxy

ALPHAS = (0.0, 0.5)
T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093),
)
"""Student's t at 97.5 % for 1, 2, ... degrees of freedom."""

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One combination and what it reached."""

    channels_last: bool
    precision: Precision
    images_per_second: dict[float, float]
    spread: dict[float, float]
    """Half the range of the repeats over their median, by alpha."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The end of one training: accuracy (0 to 1) and loss on all validation images."""

    accuracy: float
    loss: float
    seconds: float


def machine() -> str:
    """Processor or GPU, threads and versions, in one line."""
    device = choose_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return f"{name}, {torch.get_num_threads()} thread(s), {versions('torch')}"


def proxy_of(space: SearchSpace, backbone: str, alpha: float) -> Architecture:
    """The proxy network with one alpha, pooled as the candidates are."""
    return space.proxy_architecture(space.uniform(backbone, alpha, "pooled"))


def settings_of(space: SearchSpace, data: ImageSet, channels_last: bool, precision: str) -> TrainSettings:
    """The proxy's settings in a number format ("auto": octnas's choice) and a layout."""
    settings = settings_from_proxy(space.proxy, data)
    if precision == "auto":
        return dataclasses.replace(settings, channels_last=channels_last)
    chosen: Precision = "bf16" if precision == "bf16" else "fp32"
    return dataclasses.replace(settings, channels_last=channels_last, precision=chosen)


def measure(space: SearchSpace, data: ImageSet, *, backbone: str, steps: int, repeats: int) -> list[Row]:
    """Times all combinations in turns."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    modes = [(channels_last, precision) for channels_last in (False, True) for precision in precisions]
    total = 2 + steps * repeats
    trainings = {}
    for channels_last, precision in modes:
        settings = settings_of(space, data, channels_last, precision)
        settings = dataclasses.replace(settings, epochs=None, steps=total, evaluations=1)
        for alpha in ALPHAS:
            training = ProxyTraining(proxy_of(space, backbone, alpha), data, settings, seed=0)
            training.train_steps(2)
            trainings[channels_last, precision, alpha] = training
    speeds: dict[tuple[bool, Precision, float], list[float]] = {key: [] for key in trainings}
    for _ in range(repeats):
        for key, training in trainings.items():
            begin = time.perf_counter()
            images, _ = training.train_steps(steps)
            speeds[key].append(images / (time.perf_counter() - begin))
    return [
        Row(
            channels_last=channels_last,
            precision=precision,
            images_per_second={a: statistics.median(speeds[channels_last, precision, a]) for a in ALPHAS},
            spread={a: _spread(speeds[channels_last, precision, a]) for a in ALPHAS},
        )
        for channels_last, precision in modes
    ]


def _spread(values: list[float]) -> float:
    return (max(values) - min(values)) / 2 / statistics.median(values)


def speed_table(rows: Sequence[Row]) -> str:
    """The rows in Markdown; images a second, and in brackets half the range of the repeats."""
    lines = ["| layout | format | plain | alpha 0.5 |", "|---|---|---|---|"]
    for row in rows:
        cells = [f"{row.images_per_second[a]:.0f} (± {100 * row.spread[a]:.0f} %)" for a in ALPHAS]
        layout = "channels-last" if row.channels_last else "torch's default"
        lines.append(f"| {layout} | {row.precision} | {' | '.join(cells)} |")
    return "\n".join(lines)


def train(
    space: SearchSpace, data: ImageSet, backbone: str, *, seed: int, channels_last: bool, precision: str
) -> Reached:
    """One whole proxy training at alpha 0.5."""
    begin = time.perf_counter()
    settings = settings_of(space, data, channels_last, precision)
    training = ProxyTraining(proxy_of(space, backbone, 0.5), data, settings, seed=seed)
    scores = [training.run_epoch(full_validation=n == settings.scores) for n in range(1, settings.scores + 1)]
    return Reached(accuracy=scores[-1].accuracy, loss=scores[-1].loss, seconds=time.perf_counter() - begin)


def difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Mean of second - first over the pairs, and half its 95 % interval by the paired t."""
    each = [b - a for a, b in zip(first, second, strict=True)]
    half = T_975[len(each) - 2] * statistics.stdev(each) / len(each) ** 0.5
    return statistics.fmean(each), half


def accuracy_table(plain: Sequence[Reached], chosen: Sequence[Reached], name: str) -> str:
    """Both trainings in Markdown, their paired difference, and whether it is within the noise of seeds."""
    lines = [
        "| format and layout | accuracy, mean | from seed to seed | loss, mean | seconds a training |",
        "|---|---|---|---|---|",
    ]
    for label, rows in (("fp32, torch's default", plain), (name, chosen)):
        accuracies = [row.accuracy for row in rows]
        lines.append(
            f"| {label} | {100 * statistics.fmean(accuracies):.2f} % "
            f"| {100 * statistics.stdev(accuracies):.2f} points "
            f"| {statistics.fmean(row.loss for row in rows):.4f} "
            f"| {statistics.fmean(row.seconds for row in rows):.1f} |"
        )
    points, half = difference([100 * row.accuracy for row in plain], [100 * row.accuracy for row in chosen])
    loss, loss_half = difference([row.loss for row in plain], [row.loss for row in chosen])
    within = "within" if abs(points) <= half else "outside"
    lines += [
        "",
        f"Difference over {len(plain)} paired seeds: accuracy {points:+.2f} ± {half:.2f} points, "
        f"loss {loss:+.4f} ± {loss_half:.4f} (95 %). An accuracy difference of 0 is {within} the interval.",
    ]
    return "\n".join(lines)


def compare_accuracy(space: SearchSpace, data: ImageSet, *, backbone: str, seeds: int) -> str:
    """Trains both ways with every seed, one after the other."""
    mode = mode_of(settings_of(space, data, True, "auto"))
    name = f"{mode.precision}, channels-last (octnas's choice on this machine)"
    plain, chosen = [], []
    for seed in range(seeds):
        plain.append(train(space, data, backbone, seed=seed, channels_last=False, precision="fp32"))
        chosen.append(train(space, data, backbone, seed=seed, channels_last=True, precision="auto"))
        print(
            f"seed {seed}: fp32 {100 * plain[-1].accuracy:.2f} %, "
            f"{mode.precision} {100 * chosen[-1].accuracy:.2f} %",
            flush=True,
        )
    return accuracy_table(plain, chosen, name)


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="imagenet-2d", help="whose proxy: a space's name or file")
    parser.add_argument("--data", help="data set in place of the space's")
    parser.add_argument("--backbone", default="resnet26")
    parser.add_argument("--steps", type=int, default=4, help="steps in one timing")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--accuracy", action="store_true", help="compare accuracies instead of speeds")
    parser.add_argument("--seeds", type=int, default=5, help=f"with --accuracy: 2 to {len(T_975) + 1}")
    given = parser.parse_args()
    if not 2 <= given.seeds <= len(T_975) + 1:
        parser.error(f"`2 <= seeds <= {len(T_975) + 1}` must hold, but got {given.seeds}")
    space = load_space(given.space).restricted(data=given.data)
    proxy = space.proxy
    data = load_images(proxy.data, size=proxy.input_size)
    if given.accuracy:
        what = "Accuracy on all validation images, alpha 0.5"
        text = compare_accuracy(space, data, backbone=given.backbone, seeds=given.seeds)
    else:
        what = "Images a second in training"
        rows = measure(space, data, backbone=given.backbone, steps=given.steps, repeats=given.repeats)
        text = speed_table(rows)
    length = f"{proxy.steps} steps" if proxy.epochs is None else f"{proxy.epochs} epochs"
    print(f"{what}: {given.backbone} as the proxy of {space.name} (width {proxy.width}, {proxy.stem} stem,")
    print(f"pooled; {data.name} at {data.size} px, batches of {proxy.batch_size}, {proxy.optimizer},")
    print(f"{length} a training). {machine()}.\n")
    print(text)


if __name__ == "__main__":
    main()
