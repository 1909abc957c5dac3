"""Trains every architecture of a small space with several seeds: the table that searches are measured on.

    python benchmarks/train_table.py benchmarks/tabulated/two-backbones.yaml --budget-gflops 1.6 --seeds 2

One row a training and epoch: its seed, accuracy and loss on validation images after that epoch (the last on
all of them), and the processor seconds that it took. Trainings go through `octnas.engine.evaluate`, so a
table holds what a search would have seen, score for score. The file is rewritten every few trainings, whole
or not at all, and a run that was cut off goes on where it stopped: all architectures with one seed come
before the next seed.

A space too large to be trained whole is sampled, on its own images:

    python benchmarks/train_table.py search_spaces/imagenet-2d.yaml --budget-gflops 2 --sample 60 --seeds 1 \
        --images space --out benchmarks/tabulated/imagenet-2d-sample.parquet
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch.nn import functional

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.data import ImageSet, MemorySplit, Split, load_images
from octnas.data.sets import statistics
from octnas.space import SearchSpace, load_space

COLUMNS = pa.schema(
    [
        ("digest", pa.string()),
        ("backbone", pa.string()),
        ("low_channels", pa.list_(pa.int16())),
        ("gflops", pa.float64()),
        ("params", pa.int64()),
        ("seed", pa.int16()),
        ("epoch", pa.int16()),
        ("accuracy", pa.float64()),
        ("loss", pa.float64()),
        ("train_loss", pa.float64()),
        ("seconds", pa.float32()),
    ]
)
OBJECT_SIDE = 14
"""Side in px to which images are shrunk."""
TRAIN_IMAGES, VAL_IMAGES = 10_000, 2_000
WRITE_EVERY = 16
"""Trainings between two writes of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One architecture with one seed."""

    space_yaml: str
    architecture: Architecture
    seed: int
    small_objects: bool = True
    """Whether the space's images are made into small objects."""

    @property
    def key(self) -> tuple[str, int]:
        """Equal for equal trainings of one space."""
        return self.architecture.digest, self.seed


def members(space: SearchSpace) -> list[Architecture]:
    """Every architecture of a space, once."""
    found: dict[str, Architecture] = {}
    for backbone in space.backbones:
        dimensions = space.dimensions(backbone)
        for values in product(*(range(each.choices) for each in dimensions)):
            names = [each.name for each in dimensions]
            architecture = space.decode(backbone, dict(zip(names, values, strict=True)))
            found.setdefault(architecture.digest, architecture)
    return list(found.values())


def sampled(space: SearchSpace, budget_gflops: float, count: int) -> list[Architecture]:
    """`count` distinct members within a budget, as a search's random draws: a backbone, a cost cap, a member
    under the cap. The first `n` are those of `n` asked for."""
    feasible, rng = space.feasible(budget_gflops), np.random.default_rng(0)
    found: dict[str, Architecture] = {}
    while len(found) < min(count, feasible.size):
        architecture = feasible.sample(rng)
        found.setdefault(architecture.digest, architecture)
    return list(found.values())


@lru_cache(maxsize=1)
def small_objects(data: str, size: int) -> ImageSet:
    """The images of a data set, each shrunk to `OBJECT_SIDE` px and put somewhere on a black canvas.

    Small things far apart are what low maps blur, so that architectures differ more than their seeds do.
    Sides and places are drawn by fixed seeds: the task is the same everywhere.
    """
    images = load_images(data, size=size)
    splits = {
        name: _on_canvas(split, size=size, count=count, seed=seed)
        for name, split, count, seed in (
            ("train", images.train, TRAIN_IMAGES, 1),
            ("val", images.val, VAL_IMAGES, 2),
        )
    }
    mean, std = statistics(splits["train"].images)
    return replace(images, **splits, test=None, mean=mean, std=std, channels=1, size=size)


def _on_canvas(split: Split, *, size: int, count: int, seed: int) -> MemorySplit:
    chosen = split.subset(count, seed)
    (batch, labels), *_ = chosen.batches(count)
    gray = batch[:, :1].float()
    small = functional.interpolate(gray, size=(OBJECT_SIDE, OBJECT_SIDE), mode="area").round().byte().numpy()
    places = np.random.default_rng(seed).integers(0, size - OBJECT_SIDE + 1, (count, 2))
    canvas = np.zeros((count, size, size, 1), np.uint8)
    for image, object_, (row, column) in zip(canvas, small, places, strict=True):
        image[row : row + OBJECT_SIDE, column : column + OBJECT_SIDE, 0] = object_[0]
    return MemorySplit(images=canvas, labels=labels.numpy(), size=size, channels=1)


def train(training: Training) -> list[dict[str, Any]]:
    """The rows of one training, with one thread."""
    from octnas.engine.evaluate import TrialJob, evaluate, scores_of
    from octnas.record import EpochScore
    from octnas.space import parse_space

    space = parse_space(training.space_yaml)
    architecture = training.architecture
    counted = cost(architecture, input_shape=(3, 224, 224), num_classes=space.target.classes)
    job = TrialJob(
        id="0",
        architecture=architecture,
        gflops=space.gflops(architecture),
        proxy_architecture=space.proxy_architecture(architecture),
        proxy=space.proxy,
        epochs=scores_of(space.proxy),
        seed=training.seed,
        checkpoint=Path(os.devnull) / "nothing",  # cannot be written, and need not be
    )
    rows: list[dict[str, Any]] = []
    source, size = space.proxy.data, space.proxy.input_size
    images = small_objects(source, size) if training.small_objects else load_images(source, size=size)
    before = time.process_time()

    def report(score: EpochScore) -> bool:
        nonlocal before
        now = time.process_time()
        rows.append(
            {
                "digest": architecture.digest,
                "backbone": architecture.backbone,
                "low_channels": list(architecture.low_channels),
                "gflops": job.gflops,
                "params": counted.params,
                "seed": training.seed,
                "epoch": score.epoch,
                "accuracy": score.accuracy,
                "loss": score.loss,
                "train_loss": score.train_loss,
                "seconds": now - before,
            }
        )
        before = now
        return True

    evaluate(job, images, report)
    return rows


def read(path: Path) -> list[dict[str, Any]]:
    """The rows that a file holds already."""
    return list(pq.read_table(path).to_pylist()) if path.exists() else []


def write(path: Path, rows: list[dict[str, Any]], space: SearchSpace, versions: str) -> None:
    """The rows in a fixed order, and the space beside them; whole or not at all."""
    rows = sorted(rows, key=lambda row: (row["seed"], row["gflops"], row["digest"], row["epoch"]))
    table = pa.Table.from_pylist(rows, schema=COLUMNS)
    table = table.replace_schema_metadata({"octnas.space": space.to_yaml(), "octnas.versions": versions})
    part = path.with_suffix(".part")
    pq.write_table(table, part, compression="zstd", use_dictionary=True)
    os.replace(part, path)


def run(waiting: list[Training], *, processes: int, minutes: float, keep: Any) -> int:
    """Trains until nothing waits or the minutes are over; hands rows to `keep`; returns what is left."""
    deadline = time.monotonic() + 60 * minutes
    running: set[Future[list[dict[str, Any]]]] = set()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        while waiting or running:
            while waiting and len(running) < processes and time.monotonic() < deadline:
                running.add(pool.submit(train, waiting.pop(0)))
            if not running:
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                keep(future.result())
    return len(waiting)


def main() -> None:
    """Parses, trains what the file lacks, and says what is in it."""
    from machine import processor
    from machine import versions as versions_of

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("space", type=Path, help="YAML of the space; its table lies beside it")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no training later")
    parser.add_argument("--budget-gflops", type=float, help="only members that cost no more")
    parser.add_argument("--only", type=int, help="this many architectures, evenly through the space")
    parser.add_argument("--sample", type=int, help="this many random members, by a search's random draws")
    parser.add_argument("--images", choices=("small-objects", "space"), default="small-objects")
    parser.add_argument("--out", type=Path, help="Parquet file; default: beside the space")
    given = parser.parse_args()
    space = load_space(given.space)
    path: Path = given.out or given.space.with_suffix(".parquet")
    rows = read(path)
    done = {(row["digest"], row["seed"]) for row in rows}
    if given.sample:
        architectures = sampled(space, given.budget_gflops or space.max_gflops, given.sample)
    else:
        architectures = members(space)
    if given.budget_gflops:
        architectures = [each for each in architectures if space.gflops(each) <= given.budget_gflops]
    if given.only:
        architectures = architectures[:: max(1, len(architectures) // given.only)]
    text = space.to_yaml()
    every = [
        Training(
            space_yaml=text,
            architecture=architecture,
            seed=seed,
            small_objects=given.images == "small-objects",
        )
        for seed in range(given.seeds)
        for architecture in architectures
    ]
    waiting = [training for training in every if training.key not in done]
    versions = f"{processor()}; {versions_of('octnas', 'torch')}"
    print(f"{space.name}: {len(every)} trainings, {len(every) - len(waiting)} are there", flush=True)
    fresh = 0

    def keep(new: list[dict[str, Any]]) -> None:
        nonlocal fresh
        rows.extend(new)
        fresh += 1
        if fresh % WRITE_EVERY == 0:
            write(path, rows, space, versions)
            last = new[-1]
            print(
                f"{fresh}: {last['backbone']} {last['gflops']:.3f} GFLOPs seed {last['seed']}: "
                f"{100 * last['accuracy']:.2f} %, {sum(row['seconds'] for row in new):.1f} s",
                flush=True,
            )

    left = run(waiting, processes=given.processes, minutes=given.minutes, keep=keep)
    if fresh:
        write(path, rows, space, versions)
    print(f"{path}: {len(rows)} rows, {path.stat().st_size / 2**20:.2f} MB, {left} trainings left")


if __name__ == "__main__":
    main()
