"""Full training: whether several workers reach what one does, and whether the images come fast enough.

    python benchmarks/full_training.py workers --seeds 6
    python benchmarks/full_training.py pipeline

The first trains one small network with one worker and with two, for each seed with the same images in the
same steps, and prints the mean difference of the paired seeds with its 95 % interval (Student's t). Workers
are Ray Train's, on this machine.

The second writes JPEG files of ImageNet's usual size (500 x 375 px) and prints images a second of random
crops to 224 px, by the processor time that they take: by Pillow and as octnas reads them, in turns; by its
reading processes; and what a training of ResNet-50 at 224 px takes of them here, with the share of its time
in which it waited for images.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from machine import processor, versions
from numpy.typing import NDArray
from PIL import Image
from training_speed import T_975

from octnas.architecture import Architecture
from octnas.data import ImageSet, StreamedSplit, load_images
from octnas.data.crop import decode_crop, draw_box
from octnas.engine.ray_train import train_together
from octnas.engine.together import local_workers
from octnas.train import ProxyTraining, TrainSettings
from octnas.train.memory import PeakMemory
from octnas.train.recipe import recipe_words
from octnas.train.winner import Outcome, reached

SIDE, WIDTH, HEIGHT, QUALITY = 224, 500, 375, 95
FILES = 512
REPEATS = 5
VALIDATED = 2000


def small() -> Architecture:
    """ResNet-18 of width 8, half of its channels an octave lower."""
    return Architecture.uniform(
        "resnet18", alpha=0.5, width=8, stem="small", input_size=32, downsample="pooled"
    )


def trained(workers: int, seed: int, settings: TrainSettings, data: ImageSet) -> Outcome:
    """One training to its end."""
    with tempfile.TemporaryDirectory() as folder:
        if workers > 1:
            found = local_workers(workers)
            return train_together(small(), data, settings, seed=seed, workers=found, folder=Path(folder))
        training = ProxyTraining(small(), data, settings, seed=seed)
        memory = PeakMemory(training.mode.device)
        while not training.finished:
            training.run_epoch()
        return reached(training, memory)


def compare_workers(seeds: int, epochs: int, images: int) -> None:
    """Trains with one and with two workers."""
    data = load_images("fashion-sample")
    data = dataclasses.replace(data, val=data.val.subset(VALIDATED, 0))
    settings = TrainSettings(
        epochs=epochs,
        batch_size=64,
        train_images=images,
        learning_rate=0.004,
        label_smoothing=0.1,
        mixup=0.2,
        ema=0.99,
    )
    reach: dict[int, list[float]] = {1: [], 2: []}
    loss: dict[int, list[float]] = {1: [], 2: []}
    for seed in range(seeds):
        for workers, values in reach.items():
            outcome = trained(workers, seed, settings, data)
            assert outcome.test is not None
            values.append(100 * outcome.test)
            loss[workers].append(outcome.val[1])
            print(
                f"seed {seed}, {workers} workers: {values[-1]:.2f} % of test images, "
                f"loss {outcome.val[1]:.4f}, {outcome.seconds:.0f} s",
                flush=True,
            )
    print(f"\nresnet18 of width 8 at alpha 0.5 on {images} images of {data.name}: {recipe_words(settings)}.")
    print(f"{processor()}, {versions('torch', 'ray')}.\n")
    print("| workers | test accuracy, mean | from seed to seed | validation loss, mean |\n|---|---|---|---|")
    for workers, values in reach.items():
        print(
            f"| {workers} | {statistics.mean(values):.2f} % | {statistics.stdev(values):.2f} points "
            f"| {statistics.mean(loss[workers]):.4f} |"
        )
    print(
        f"\nTwo workers less one, over {seeds} paired seeds: accuracy "
        f"{_interval(reach[2], reach[1], 2)} points, loss {_interval(loss[2], loss[1], 4)} (95 %)."
    )


def _interval(first: list[float], second: list[float], digits: int) -> str:
    differences = [a - b for a, b in zip(first, second, strict=True)]
    half = T_975[len(differences) - 2] * statistics.stdev(differences) / len(differences) ** 0.5
    return f"{statistics.mean(differences):+.{digits}f} ± {half:.{digits}f}"


def write_files(folder: Path) -> StreamedSplit:
    """JPEG files about as large as those of photographs: noise of all scales, the finer the fainter."""
    rng = np.random.default_rng(0)
    names = []
    for number in range(32):
        pixels = np.zeros((HEIGHT, WIDTH, 3))
        for octave in range(7):
            cells = rng.normal(size=(2 + 3 * 2**octave, 2 + 4 * 2**octave, 3))
            for channel in range(3):
                layer = Image.fromarray(cells[..., channel].astype(np.float32)).resize((WIDTH, HEIGHT), 3)
                pixels[..., channel] += np.asarray(layer) / 1.35**octave
        image = Image.fromarray(np.clip(128 + 45 * pixels, 0, 255).astype(np.uint8))
        names.append(f"{number}.jpg")
        image.save(folder / names[-1], quality=QUALITY)
    paths = [names[i % len(names)].encode() for i in range(FILES)]
    return StreamedSplit(
        root=str(folder), paths=np.array(paths), labels=np.arange(FILES) % 10, size=SIDE, channels=3
    )


def by_pillow(path: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The same crop, all by Pillow."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    left, top, wide, tall = draw_box(*image.size, rng)
    box = (left, top, left + wide, top + tall)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box))


def by_octnas(path: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The crop that trainings read."""
    return decode_crop(path, size=SIDE, channels=3, rng=rng)


def cores(split: StreamedSplit) -> None:
    """Decoders on one core in turns, then reading processes."""
    torch.set_num_threads(1)
    decoders = {"Pillow": by_pillow, "octnas": by_octnas}
    rates: dict[str, list[float]] = {name: [] for name in decoders}
    for repeat in range(REPEATS + 1):
        for name, decode in decoders.items():
            begin = time.process_time()
            for index in range(64):
                decode(split.file(index), np.random.default_rng([repeat, index]))
            if repeat:  # the first one loads libraries
                rates[name].append(64 / (time.process_time() - begin))
    print("| what | images a second |\n|---|---|")
    for name, values in rates.items():
        print(f"| {name}, of a core's own time | {_median(values)} |", flush=True)
    for workers in (1, 2):
        once = dataclasses.replace(split.cropped(1), workers=workers)
        values = []
        for _ in range(REPEATS):
            begin = _own_time()
            count = sum(len(labels) for _, labels in once.batches(64))
            values.append(count / (_own_time() - begin))
        print(
            f"| octnas, {workers} reading processes with their start, of all processes' own time | "
            f"{_median(values)} |",
            flush=True,
        )


def _own_time() -> float:
    """Seconds of processor time of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def _median(values: list[float]) -> str:
    """With half the range over it."""
    middle = statistics.median(values)
    return f"{middle:.0f} (± {(max(values) - min(values)) / 2 / middle:.0%})"


class _Watched:
    """A split that counts for how long its reader waits."""

    def __init__(self) -> None:
        self.waited = 0.0

    def over(
        self, batches: Iterator[tuple[torch.Tensor, torch.Tensor]]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        first = next(batches)  # the start of the processes is not the pipeline's pace
        yield first
        while True:
            begin = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self.waited += time.perf_counter() - begin
            yield batch


def keeps_up(split: StreamedSplit, alpha: float, batch_size: int, steps: int) -> None:
    """Trains ResNet-50 for some steps from the files."""
    split = dataclasses.replace(split, workers=1)
    data = ImageSet(
        name="photographs",
        classes=tuple(map(str, range(10))),
        channels=3,
        size=SIDE,
        train=split,
        val=split,
        test=None,
        fingerprint="0",
        licence="none",
        origin="made",
        flip=True,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
    settings = TrainSettings(
        epochs=1, batch_size=batch_size, optimizer="sgd", learning_rate=0.01, random_crop=True, threads=1
    )
    architecture = Architecture.uniform("resnet50", alpha=alpha)
    training = ProxyTraining(architecture, data, settings, seed=0)
    training.train_steps(1)
    watched, batches = _Watched(), training._batches
    training._batches = lambda first, last: watched.over(batches(first, last))  # type: ignore[method-assign]
    begin = time.perf_counter()
    training.train_steps(steps)
    seconds = time.perf_counter() - begin
    print(
        f"| ResNet-50 at alpha {alpha:g} in training ({training.mode.precision}), one core beside one "
        f"reading process | {steps * batch_size / seconds:.1f}; "
        f"waited {watched.waited / seconds:.1%} of the time |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("workers", "pipeline"))
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=6)
    arguments = parser.parse_args()
    if arguments.what == "workers":
        compare_workers(arguments.seeds, arguments.epochs, arguments.images)
        return
    with tempfile.TemporaryDirectory() as folder:
        split = write_files(Path(folder))
        size = sum((Path(folder) / f"{number}.jpg").stat().st_size for number in range(32)) / 32
        print(f"{processor()}, {versions('torch', 'torchvision', 'pillow')}; JPEG of {size / 1000:.0f} kB.\n")
        cores(split)
        keeps_up(split, 0.5, 16, arguments.steps)


if __name__ == "__main__":
    main()
