"""Objectives without training, at layer granularity: many dimensions, a known formula, seed noise.

An architecture's true accuracy is a base of its backbone, plus for each layer a concave function of its
alpha whose optimum and weight belong to the stage in all backbones, with a deviation of the layer's own, plus
80 products of two layers' alphas, half of them neighbours and half any two, each through tanh. The two parts
are scaled to spreads of `SIGNAL` and `PRODUCTS` accuracy points over draws spread evenly in cost. A training
ends at the truth plus normal seed noise; after epoch e of E it shows less, by `RISE` (1 - e / E), and has
further noise that shrinks with sqrt(E / e - 1). Signal and seed noise are near those of the default proxy
(`signal_to_noise.py`: 1.40 and 0.65 points).

The front is the best known: coordinate ascent on accuracy minus price times cost from many starts and prices,
then rounds of changing one layer of each member of the front.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from problem import Points, generator, non_dominated

from octnas.architecture import Architecture
from octnas.record import EpochScore
from octnas.space import SearchSpace, parse_space
from octnas.space.members import Members

__all__ = ["SYNTHETIC", "Synthetic"]

SIGNAL, PRODUCTS, NOISE = 0.0130, 0.0065, 0.0065
"""Standard deviations: of the additive part, of the products, of the seed noise (shares of 1)."""
RISE = 0.25
"""What a training gains from its start to its end."""
BASES = {"resnet18": 0.790, "resnet26": 0.800, "resnet34": 0.806, "resnet50": 0.820}
PRODUCT_COUNT = 80
PRICES = np.concatenate(([0.0], np.geomspace(1e-4, 1.0, 40)))
"""Of a GFLOP, in accuracy, for the front."""
ROUNDS = 12

SYNTHETIC: dict[str, tuple[tuple[str, ...], float]] = {
    "synthetic-resnet50": (("resnet50",), 2.5),
    "synthetic-four": (("resnet18", "resnet26", "resnet34", "resnet50"), 2.5),
}
"""Backbones and budget in GFLOPs of each objective."""

_SPACE = """\
name: {name}
description: an alpha for every layer; scores come from a formula
granularity: layer
alphas: [0, 0.25, 0.5, 0.75]
backbones: [{backbones}]
downsample: [pooled]
target: {{input_size: 224, channels: 3, classes: 1000, width: 64, stem: imagenet}}
proxy: {{data: glyphs, width: 8, stem: small, input_size: 32, epochs: 8, rungs: {{eta: 2, min_epochs: 1}}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Formula:
    """Accuracy of one backbone: `layers` (S, K) added up, and products (first, second, values (K, K))."""

    base: float
    layers: np.ndarray
    products: tuple[tuple[int, int, np.ndarray], ...]

    def value(self, choices: np.ndarray) -> np.ndarray:
        """Accuracies (N,) of alpha indices (N, S)."""
        total = self.base + self.layers[np.arange(choices.shape[1]), choices].sum(axis=1)
        for first, second, values in self.products:
            total += values[choices[:, first], choices[:, second]]
        return np.asarray(total)


class Synthetic:
    """One objective over the backbones of `SYNTHETIC[name]`, drawn by `objective`."""

    def __init__(self, name: str, objective: int = 0) -> None:
        backbones, self.budget_gflops = SYNTHETIC[name]
        self.name = name
        self.objective = objective
        self.space: SearchSpace = parse_space(_SPACE.format(name=name, backbones=", ".join(backbones)))
        self.epochs = int(self.space.proxy.epochs or 0)
        rng = np.random.default_rng([20, objective])
        stages = {each: (rng.uniform(0.5, 1.5), rng.normal(0.15 * each - 0.2, 0.1)) for each in range(1, 5)}
        self._formulas = {each: self._formula(each, stages, objective) for each in backbones}

    def truth(self, architecture: Architecture) -> float:
        """The formula's value."""
        choices = self.space.members(architecture.backbone).choices(architecture)
        assert choices is not None
        return float(self._formulas[architecture.backbone].value(np.array([choices]))[0])

    def scores(self, architecture: Architecture, seed: int) -> Iterator[EpochScore]:
        """The truth with noise; an epoch takes a second a GFLOP."""
        noise = NOISE * generator(seed, architecture, self.objective).standard_normal(self.epochs + 1)
        last = self.truth(architecture) + noise[0]
        seconds = self.space.gflops(architecture)
        for epoch in range(1, self.epochs + 1):
            left = self.epochs / epoch - 1
            accuracy = float(last - RISE * (1 - epoch / self.epochs) + noise[epoch] * np.sqrt(left))
            yield EpochScore(
                epoch=epoch,
                accuracy=accuracy,
                loss=1 - accuracy,
                train_loss=1 - accuracy,
                seconds=seconds,
                train_seconds=seconds,
                images_per_second=1.0,
            )

    @cached_property
    def best(self) -> Points:
        """The best front known within the budget."""
        points = np.concatenate([self._search(name) for name in self._formulas])
        return np.asarray(points[non_dominated(points)])

    @cached_property
    def reference(self) -> float:
        """The lowest true accuracy of 300 members spread evenly in cost and of the cheapest one."""
        feasible = self.space.feasible(self.budget_gflops)
        rng = np.random.default_rng([21, self.objective])
        drawn = [feasible.sample(rng) for _ in range(300)]
        return min(self.truth(each) for each in (*drawn, self.space.smallest()))

    def ceiling(self, replications: int) -> list[float]:
        """Nothing: no space of this size can be trained whole."""
        return []

    def describe(self) -> str:
        """One line on the objective, for the report."""
        layers = {name: len(self.space.members(name).slots) for name in self._formulas}
        sizes = ", ".join(f"{name} {count}" for name, count in layers.items())
        return (
            f"a formula, no training; layers with an alpha: {sizes}. {PRODUCT_COUNT} pair products beside "
            f"the additive part, seed noise {100 * NOISE:.2f} points. The front is the best known, by local "
            "search"
        )

    def _formula(self, backbone: str, stages: dict[int, tuple[float, float]], objective: int) -> _Formula:
        members = self.space.members(backbone)
        rng = np.random.default_rng([22, objective, len(members.slots)])
        alphas = np.array([float(alpha) for alpha in members.alphas])
        layers = np.empty((len(members.slots), len(alphas)))
        for row, slot in enumerate(members.slots):
            weight, optimum = stages[slot.stage]
            own = weight * rng.lognormal(0.0, 0.5)
            layers[row] = -own * (alphas - optimum - rng.normal(0.0, 0.1)) ** 2
        products = []
        for number in range(PRODUCT_COUNT):
            first = int(rng.integers(len(layers) - 1))
            second = first + 1
            if number % 2:
                first, second = sorted(rng.choice(len(layers), 2, replace=False).tolist())
            a, b = (np.tanh(3 * (alphas - rng.uniform(0, 0.75))) for _ in range(2))
            products.append((first, second, rng.normal() * np.tanh(np.outer(a, b))))
        plain = _Formula(base=0.0, layers=layers, products=())
        pairs = _Formula(base=0.0, layers=np.zeros_like(layers), products=tuple(products))
        drawn = self._spread(members)
        additive = SIGNAL / plain.value(drawn).std()
        crossed = PRODUCTS / pairs.value(drawn).std()
        layers = additive * (layers - layers.max(axis=1, keepdims=True))
        scaled = tuple((i, j, crossed * values) for i, j, values in products)
        return _Formula(base=BASES[backbone], layers=layers, products=scaled)

    def _spread(self, members: Members) -> np.ndarray:
        """Alpha indices (300, S) of members spread evenly over all costs."""
        feasible = self.space.feasible(members.graph.max_cost / 1e9)
        rng = np.random.default_rng(23)
        drawn = (members.choices(feasible.sample(rng, members.backbone)) for _ in range(300))
        return np.array([choices for choices in drawn if choices is not None])

    def _search(self, backbone: str) -> Points:
        """Points of the best front found for one backbone."""
        members, formula = self.space.members(backbone), self._formulas[backbone]
        lows = np.array([members.lows[slot.index] for slot in members.slots])
        index = np.arange(len(members.slots))

        def points(choices: np.ndarray) -> Points:
            low = np.zeros((len(choices), len(members.table.slots)), dtype=np.int64)
            low[:, [slot.index for slot in members.slots]] = lows[index, choices]
            return np.column_stack([members.costs.macs(low) / 1e9, formula.value(choices)])

        def front(choices: np.ndarray) -> np.ndarray:
            found = points(choices)
            inside = np.flatnonzero(found[:, 0] <= self.budget_gflops)
            return np.asarray(choices[inside[non_dominated(found[inside])]])

        kinds = lows.shape[1]
        rng = np.random.default_rng([24, self.objective])
        starts = [np.full(len(index), kind) for kind in range(kinds)]
        starts += [rng.integers(kinds, size=len(index)) for _ in range(4)]
        now = np.repeat(np.array(starts), len(PRICES), axis=0)
        prices = np.tile(PRICES, len(starts))
        for _ in range(6):  # sweeps; few change anything after the third
            for layer in index:
                options = np.repeat(now[:, None], kinds, axis=1)
                options[:, :, layer] = np.arange(kinds)
                values = points(options.reshape(-1, len(index)))
                gains = (values[:, 1] - np.repeat(prices, kinds) * values[:, 0]).reshape(-1, kinds)
                now[:, layer] = gains.argmax(axis=1)
        best = front(np.unique(np.concatenate([now, [members.graph.smallest()]]), axis=0))
        for _ in range(ROUNDS):
            near = np.repeat(best, len(index) * kinds, axis=0)
            rows = np.arange(len(near))
            near[rows, rows // kinds % len(index)] = rows % kinds
            better = front(np.unique(np.concatenate([best, near]), axis=0))
            if np.array_equal(better, best):
                break
            best = better
        return points(best)
