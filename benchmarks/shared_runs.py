"""Pieces of `shared_weights.py` on a table: trainings of shared weights, from them and anew, and searches.

Compute is processor time of one thread, so that what runs beside a piece weighs little.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from contenders import METHODS
from contenders import run as search
from pieces import Piece, Row
from replay import Table
from train_table import small_objects

from octnas.architecture import Architecture
from octnas.data import ImageSet, load_images
from octnas.engine.evaluate import TrialJob, evaluate, scores_of
from octnas.record import EpochScore

__all__ = ["Scratch", "Search", "Supernet", "Warm", "shared_scores_of", "table_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Supernet(Piece):
    """The shared weights of one backbone, and the shared scores of all its members in the table."""

    table: str
    backbone: str
    seed: int
    length: float
    """In trainings of one proxy; this and the next three as `octnas.train.supernet` has them."""
    randoms: int
    together: bool
    distill: float
    images: int | None
    """Validation images of a score; None: all."""

    def weights(self, work: Path) -> Path:
        """Where the weights lie."""
        name = hashlib.sha256(self.key.encode()).hexdigest()[:12]
        return work / f"{Path(self.table).stem}-{self.backbone}-{self.seed}-{name}.safetensors"

    def run(self, work: Path) -> Row:
        from octnas.engine.shared_jobs import ends_of, pool_of
        from octnas.train.scoring import SharedScorer
        from octnas.train.settings import settings_from_proxy
        from octnas.train.supernet import Sandwich, SupernetTraining, supernet_settings
        from octnas.train.weights import save_weights

        table = table_of(self.table)
        space, images = table.space, images_of(self.table)
        feasible = space.feasible(table.budget_gflops)
        plain, cheapest = (space.proxy_architecture(each) for each in ends_of(feasible, self.backbone))
        pool = pool_of(feasible, self.backbone, seed=self.seed)
        sandwich = Sandwich(
            plain=plain,
            cheapest=cheapest,
            pool=tuple(space.proxy_architecture(each) for each in pool),
            randoms=self.randoms,
            together=self.together,
            distill=self.distill,
        )
        settings = settings_from_proxy(space.proxy, images)
        begin = time.process_time()
        training = SupernetTraining(
            sandwich, images, supernet_settings(settings, length=self.length), seed=self.seed
        )
        while not training.finished:
            training.run_epoch()
        train_seconds = time.process_time() - begin
        save_weights(training.network, self.weights(work))
        begin = time.process_time()
        scorer = SharedScorer(plain, training.network.state_dict(), images, settings, images=self.images)
        scores = {
            each.digest: scorer.score(space.proxy_architecture(each)) for each in table.of(self.backbone)
        }
        return {
            "train_seconds": train_seconds,
            "score_seconds": time.process_time() - begin,
            "plain_accuracy": training.scores[-1].accuracy,
            "scores": scores,
        }


def shared_scores_of(
    supernets: Sequence[Supernet], done: Mapping[str, Row]
) -> dict[int, dict[str, tuple[float, float]]]:
    """(accuracy, loss) on shared weights by their seed and by digest, over all backbones."""
    found: dict[int, dict[str, tuple[float, float]]] = {}
    for each in supernets:
        found.setdefault(each.seed, {}).update(done[each.key]["scores"])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm(Piece):
    """A short training of one architecture that begins from shared weights."""

    supernet: Supernet
    digest: str
    epochs: int

    def run(self, work: Path) -> Row:
        table = table_of(self.supernet.table)
        weights = self.supernet.weights(work)
        return _trained(table, self.supernet.table, self.digest, self.supernet.seed, weights, self.epochs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch(Piece):
    """A training that the table has already, for what it costs now."""

    table: str
    digest: str
    seed: int = 0

    def run(self, work: Path) -> Row:
        table = table_of(self.table)
        row = _trained(table, self.table, self.digest, self.seed)
        known = table.trainings(table.architecture(self.digest))[self.seed]
        table_seconds = sum(float(epoch["seconds"]) for epoch in known)
        return {**row, "table_accuracy": known[-1]["accuracy"], "table_seconds": table_seconds}


def _trained(
    table: Table, path: str, digest: str, seed: int, initial: Path | None = None, epochs: int | None = None
) -> Row:
    space, architecture = table.space, table.architecture(digest)
    job = TrialJob(
        id="0",
        architecture=architecture,
        gflops=space.gflops(architecture),
        proxy_architecture=space.proxy_architecture(architecture),
        proxy=space.proxy,
        epochs=epochs or scores_of(space.proxy),
        seed=seed,
        checkpoint=Path(os.devnull) / "nothing",  # cannot be written, and need not be
        initial=initial,
        fine_tune=epochs,
    )
    scores: list[EpochScore] = []

    def report(score: EpochScore) -> bool:
        scores.append(score)
        return True

    images = images_of(path)
    begin = time.process_time()
    evaluate(job, images, report)
    return {
        "accuracy": scores[-1].accuracy,
        "loss": scores[-1].loss,
        "seconds": time.process_time() - begin,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(Piece):
    """A search from scratch with the default sampler on a table whose trainings are replayed."""

    table: str
    seed: int
    method: str = "thompson"

    def run(self, work: Path) -> Row:
        table = table_of(self.table)
        timed = Timed(table)
        trained = search(timed, METHODS[self.method], seed=self.seed, epochs=table.epochs * table.size)
        return {
            "trained": [
                [each.gflops, each.truth, each.seen, *end]
                for each, end in zip(trained, timed.ends, strict=False)
            ]
        }


class Timed:
    """A table that notes what its trainings took, in the seconds of the table, by backbone."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.name, self.space, self.epochs = table.name, table.space, table.epochs
        self.budget_gflops, self.reference, self.best = table.budget_gflops, table.reference, table.best
        self.ends: list[tuple[str, float]] = []
        """Backbone and seconds of each whole training, in the order in which they ended."""

    def truth(self, architecture: Architecture) -> float:
        """The table's."""
        return self._table.truth(architecture)

    def scores(self, architecture: Architecture, seed: int) -> Iterator[EpochScore]:
        """The table's."""
        seconds = 0.0
        for score in self._table.scores(architecture, seed):
            seconds += score.seconds
            if score.epoch == self.epochs:
                self.ends.append((architecture.backbone, seconds))
            yield score


# -------------------------------------------------------------------- tables and their images
@lru_cache(maxsize=2)
def table_of(path: str) -> Table:
    """A table, read once in a process."""
    return Table(Path(path))


def images_of(path: str) -> ImageSet:
    """The images that a table was trained on: the small objects, where the YAML of its space lies beside it,
    else the space's own."""
    proxy = table_of(path).space.proxy
    small = Path(path).with_suffix(".yaml").exists()
    return (small_objects if small else _space_images)(proxy.data, proxy.input_size)


@lru_cache(maxsize=1)
def _space_images(data: str, size: int) -> ImageSet:
    return load_images(data, size=size)
