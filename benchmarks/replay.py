"""A table of trainings (`tabulated/*.parquet`) as something to search: what is asked for was trained already.

The truth of an architecture is its mean accuracy over seeds after the last epoch. A replayed training is that
of one seed, drawn by the replication's seed and the architecture's digest, so that every method of a
replication sees the same training of the same architecture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from problem import Points, hypervolume, non_dominated

from octnas.architecture import Architecture
from octnas.engine.evaluate import scores_of
from octnas.record import EpochScore
from octnas.space import parse_space

__all__ = ["Table"]


class Table:
    """The trainings of a Parquet file that `train_table.py` wrote, whole or in part.

    Args:
        budget_share: the budget is the least cost that this share of the trained architectures does not
            exceed.

    Raises:
        ValueError: the file holds no whole training, or is no such table.
    """

    def __init__(self, path: Path, *, budget_share: float = 1.0) -> None:
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        text = (table.schema.metadata or {}).get(b"octnas.space")
        if text is None:
            raise ValueError(f"{path} must have the space in its metadata `octnas.space`, but has none")
        self.name = path.stem
        self.space = parse_space(text.decode(), source=str(path))
        self.epochs = scores_of(self.space.proxy)
        trainings: dict[str, dict[int, dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
        for row in table.to_pylist():
            trainings[row["digest"]][row["seed"]][row["epoch"]] = row
        self._trainings: dict[str, list[list[dict[str, Any]]]] = {}
        for digest, seeds in trainings.items():
            whole = [
                [rows[epoch] for epoch in range(1, self.epochs + 1)]
                for _, rows in sorted(seeds.items())
                if set(rows) >= set(range(1, self.epochs + 1))
            ]
            if whole:
                self._trainings[digest] = whole
        if not self._trainings:
            raise ValueError(f"{path} must hold a whole training of {self.epochs} epochs, but has none")
        self._truth = {
            digest: float(np.mean([rows[-1]["accuracy"] for rows in seeds]))
            for digest, seeds in self._trainings.items()
        }
        costs = {digest: float(seeds[0][-1]["gflops"]) for digest, seeds in self._trainings.items()}
        ordered = sorted(costs.values())
        self.budget_gflops = ordered[max(0, int(np.ceil(budget_share * len(ordered))) - 1)]
        self._inside = [digest for digest, gflops in costs.items() if gflops <= self.budget_gflops]
        self._points = np.array([[costs[digest], self._truth[digest]] for digest in self._inside])
        self.reference = float(self._points[:, 1].min())
        self.best: Points = self._points[non_dominated(self._points)]

    def of(self, backbone: str) -> list[Architecture]:
        """The members of a backbone within the budget that were trained, by ascending cost."""
        members = [self.architecture(digest) for digest in self._inside]
        return sorted((each for each in members if each.backbone == backbone), key=self.space.gflops)

    def architecture(self, digest: str) -> Architecture:
        """The architecture of that digest."""
        row = self._trainings[digest][0][0]
        return Architecture(
            backbone=row["backbone"],
            low_channels=tuple(row["low_channels"]),
            downsample=self.space.downsample[0],
            width=self.space.definition.target.width,
            stem=self.space.definition.target.stem,
        )

    def trainings(self, architecture: Architecture) -> list[list[dict[str, Any]]]:
        """The rows of its whole trainings, epoch by epoch, in the order of their seeds."""
        return self._trainings[architecture.digest]

    def truth(self, architecture: Architecture) -> float:
        """Mean accuracy over seeds after the last epoch."""
        return self._truth[architecture.digest]

    def scores(self, architecture: Architecture, seed: int) -> Iterator[EpochScore]:
        """The rows of one seed's training; `KeyError` where the table has none."""
        images = self.space.proxy.train_images or 0
        for row in self._trainings[architecture.digest][self._drawn(architecture.digest, seed)]:
            yield EpochScore(
                epoch=int(row["epoch"]),
                accuracy=float(row["accuracy"]),
                loss=float(row["loss"]),
                train_loss=float(row["train_loss"]),
                seconds=float(row["seconds"]),
                train_seconds=float(row["seconds"]),
                images_per_second=images / max(float(row["seconds"]), 1e-9),
            )

    def _drawn(self, digest: str, seed: int) -> int:
        """Which of its trainings a replication sees."""
        rng = np.random.default_rng([seed, int(digest, 16)])
        return int(rng.integers(len(self._trainings[digest])))

    def ceiling(self, replications: int) -> list[float]:
        """For each of so many draws, the share of the true front's hypervolume that is chosen by the
        scores where every member within the budget was trained once: what seed noise leaves."""
        whole = hypervolume(self.best, budget=self.budget_gflops, reference=self.reference)
        shares = []
        for seed in range(replications):
            seen = self._points.copy()
            for row, digest in enumerate(self._inside):
                seen[row, 1] = self._trainings[digest][self._drawn(digest, seed)][-1]["accuracy"]
            chosen = self._points[non_dominated(seen)]
            volume = hypervolume(chosen, budget=self.budget_gflops, reference=self.reference)
            shares.append(volume / whole)
        return shares

    @property
    def size(self) -> int:
        """Architectures within the budget."""
        return len(self._inside)

    @property
    def noise_points(self) -> float:
        """Standard deviation of the last accuracy from seed to seed, in percentage points, pooled."""
        several = [[rows[-1]["accuracy"] for rows in each] for each in self._trainings.values()]
        variances = [np.var(each, ddof=1) for each in several if len(each) > 1]
        return 100 * float(np.sqrt(np.mean(variances))) if variances else float("nan")

    def describe(self) -> str:
        """One line on the table, for the report."""
        seeds = [len(each) for each in self._trainings.values()]
        noise = "an unknown amount" if max(seeds) < 2 else f"{self.noise_points:.2f} points"
        members = self.space.feasible(self.budget_gflops).size
        whole = len(self._inside) == members
        missing = "" if whole else " (what is not trained fails at no cost: read nothing into this)"
        return (
            f"{len(self._inside)} of the {members} architectures within the budget (the space has "
            f"{self.space.size()}) trained with {min(seeds)} to {max(seeds)} seeds (mean "
            f"{np.mean(seeds):.2f}){missing}, {len(self.best)} on the true front; accuracy varies by "
            f"{noise} from seed to seed. "
            "The truth is the mean over seeds, a replayed training is one seed's"
        )
