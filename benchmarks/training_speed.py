"""Images a second of proxy trainings, by memory layout and number format, as a Markdown table.

    python benchmarks/training_speed.py --data glyphs --backbone resnet26 --repeats 5

Plain and alpha 0.5 networks are timed in turns, so that a machine that slows down slows all rows; each
figure is the median of the repeats. Whole training steps are timed: batch, augmentation, forward, backward,
optimiser.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from octnas.architecture import Architecture
from octnas.data import ImageSet, load_images
from octnas.train import ProxyTraining, TrainSettings, choose_device

ALPHAS = (0.0, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One combination and what it reached."""

    channels_last: bool
    precision: Literal["fp32", "bf16"]
    images_per_second: dict[float, float]
    spread: dict[float, float]
    """Half the range of the repeats over their median, by alpha."""


def machine() -> str:
    """Processor or GPU, threads and versions, in one line."""
    device = choose_device()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else platform.processor() or platform.machine()
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{name}, {torch.get_num_threads()} thread(s), {versions}"


def measure(
    data: ImageSet, *, backbone: str, width: int, batch_size: int, steps: int, repeats: int
) -> list[Row]:
    """Times all combinations in turns."""
    trainings: dict[tuple[bool, Literal["fp32", "bf16"], float], ProxyTraining] = {}
    precisions: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
    total = 2 + steps * repeats
    for channels_last in (False, True):
        for precision in precisions:
            for alpha in ALPHAS:
                settings = TrainSettings(
                    steps=total,
                    evaluations=total,
                    batch_size=batch_size,
                    val_images=batch_size,
                    channels_last=channels_last,
                    precision=precision,
                )
                architecture = Architecture.uniform(
                    backbone,
                    alpha=alpha,
                    width=width,
                    stem="small",
                    input_size=data.size,
                    downsample="pooled",
                )
                training = ProxyTraining(architecture, data, settings, seed=0)
                training.train_steps(2)
                trainings[channels_last, precision, alpha] = training
    speeds: dict[tuple[bool, Literal["fp32", "bf16"], float], list[float]] = {key: [] for key in trainings}
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
        for channels_last in (False, True)
        for precision in precisions
    ]


def _spread(values: list[float]) -> float:
    return (max(values) - min(values)) / 2 / statistics.median(values)


def table(rows: list[Row]) -> str:
    """The rows in Markdown; images a second, and in brackets half the range of the repeats."""
    lines = ["| layout | format | plain | alpha 0.5 |", "|---|---|---|---|"]
    for row in rows:
        cells = [f"{row.images_per_second[a]:.0f} (± {100 * row.spread[a]:.0f} %)" for a in ALPHAS]
        layout = "channels-last" if row.channels_last else "default"
        lines.append(f"| {layout} | {row.precision} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="glyphs")
    parser.add_argument("--backbone", default="resnet26")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=4, help="steps in one timing")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    data = load_images(given.data)
    rows = measure(
        data,
        backbone=given.backbone,
        width=given.width,
        batch_size=given.batch_size,
        steps=given.steps,
        repeats=given.repeats,
    )
    print(f"Images a second in training: {given.backbone}, width {given.width}, small-image stem, pooled,")
    print(f"{data.name} at {data.size} px, batches of {given.batch_size}. {machine()}.\n")
    print(table(rows))


if __name__ == "__main__":
    main()
