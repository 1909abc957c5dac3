"""What the architectures scored so far say about all others: a Bayesian linear model over the layers' alphas.

The score of an architecture x with backbone b is modelled as

    s(x) = m_b + k cost(x) + sum over layers l of [g(u_l) / (n S) + f_stage(u_l) / (n sqrt(S))
           + h_l(u_l) / sqrt(n S)] + pairs

with u_l in [-1, 1] the layer's alpha, scaled, n the octave layers of its stage, S the stages that have any,
and g, f and h quadratics of mean 0. g is one for all, f one a stage, both shared by all backbones (an effect
is per share of a stage, so that deep and shallow backbones teach each other); h_l is a layer's own
deviation. `cost` is multiply-adds, whatever the search weighs accuracy against (what a network can learn does
not depend on a device), in shares of half the backbone's range. With `pairwise` products of u_l with the
alphas that the graph's states remember are added, shared by stage and each pair's own. All weights have
normal priors of mean 0; the roots make a term's prior variance independent of how many layers share it.

Every term is a sum over the edges of the backbone's `ChoiceGraph`, so that the best architecture of a drawn
function is found exactly (`octnas.space.Optimum`).

The noise and the share of the layers' own deviations are those of the greatest marginal likelihood over a
small grid (`octnas.engine.posterior`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from octnas.engine.drawn import Drawn, Function, Layers
from octnas.engine.moments import Curve, Moments
from octnas.engine.observations import Observation, final_scores
from octnas.engine.posterior import Posterior, condition
from octnas.space import Members
from octnas.space.graph import ChoiceGraph

__all__ = ["Observation", "Surrogate"]

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

NOISES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Variances of a last score's noise that are tried, as shares of the variance of all scores."""
DEVIATIONS = (0.1, 0.3, 1.0)
"""Prior variances of a stage's layers' own deviations that are tried; the shared effects' is about 1."""
START = (0.3, 0.3)
"""Noise and deviation where there is too little to tell, and where the search over the grid begins."""
ENOUGH = 8
"""Observations from which on the grid is searched."""


class Surrogate:
    """A joint model of the scores of several backbones' architectures.

    Args:
        space_members: the members of each backbone, by its name. A backbone may stand there more than once,
            by other names (say, for each way of downsampling): each has an intercept of its own, and its
            layers' effects are the same.
        epochs: scored epochs of a whole training.
        pairwise: whether products of neighbouring alphas are modelled.
        graphs: for each name its choices as paths that cost multiply-adds, whose edges a drawn function
            scores; by default the members' own.
    """

    def __init__(
        self,
        space_members: Mapping[str, Members],
        *,
        epochs: int,
        pairwise: bool = False,
        graphs: Mapping[str, ChoiceGraph] | None = None,
    ) -> None:
        self._epochs = epochs
        names = _Names()
        self._terms = {
            arm: _Terms(arm, members, names, graphs[arm] if graphs else members.graph, pairwise=pairwise)
            for arm, members in space_members.items()
        }
        self._known: dict[tuple[str, tuple[int, ...]], Float64] = {}
        self._groups = np.array(names.groups)
        for terms in self._terms.values():
            terms.widen(len(names.groups))
        self.fit(())

    def fit(self, observations: Sequence[Observation]) -> None:
        """Condition the prior on all observations; what was fitted before is forgotten.

        Of an architecture with scores at several epochs the last counts; the earlier ones teach how an early
        score leads to a final one.

        Raises:
            KeyError: an observation of a backbone that the model does not have.
        """
        finals = final_scores(observations, self._epochs)
        self._center, self._scale = finals.center, finals.scale
        features = np.array([self._features(*key) for key in finals.keys]).reshape(-1, len(self._groups))

        def posterior(noise: float, deviation: float) -> Posterior:
            return condition(features, finals.scores, noise + finals.extra, self._variances(deviation))

        self._posterior: Posterior = _best(posterior, len(finals.scores))[1]

    def moments(self) -> Moments:
        """Sums without an architecture, for `count` and `fit_sums`."""
        self._known.clear()
        return Moments(columns=len(self._groups), epochs=self._epochs)

    def count(
        self, moments: Moments, backbone: str, choices: Sequence[int], curve: Curve, *, times: int = 1
    ) -> None:
        """Adds an architecture to sums, or with `times=-1` takes it away again."""
        moments.add(self._terms[backbone].features(choices), curve, times=times)

    def fit_sums(self, moments: Moments, chosen: tuple[float, float]) -> None:
        """`fit` from sums over the observations, in a time that does not depend on their number.

        Args:
            chosen: noise and deviation, by `choose`.
        """
        scaled = moments.scale()
        self._center, self._scale = scaled.center, scaled.scale
        self._posterior = scaled.posterior(chosen[0], self._variances(chosen[1]))

    def choose(self, moments: Moments) -> tuple[float, float]:
        """Noise and deviation of the greatest evidence, of `ENOUGH` architectures or more."""
        scaled = moments.scale()

        def posterior(noise: float, deviation: float) -> Posterior:
            return scaled.posterior(noise, self._variances(deviation))

        return _best(posterior, moments.count)[0]

    def macs(self, backbone: str, choices: Sequence[int]) -> int:
        """Multiply-adds of an architecture, as the model counts them."""
        return self._terms[backbone].macs(choices)

    def draw(self, rng: np.random.Generator, *, temperature: float = 1.0) -> Drawn:
        """One function drawn from the posterior, jointly over all backbones.

        Args:
            temperature: multiplies the draw's distance from the posterior's mean; 0 gives the mean.
        """
        mean = self._posterior.mean
        weights = mean + temperature * (self._posterior.draw(rng) - mean)
        return Drawn(
            functions={name: self._function(terms, weights) for name, terms in self._terms.items()},
            at=lambda backbone, choices: self._value(self._features(backbone, choices), weights),
            layers=lambda backbone: self._layers(self._terms[backbone], weights),
        )

    def predict(self, backbone: str, choices: Sequence[int]) -> tuple[float, float]:
        """Mean and standard deviation of an architecture's score at the last epoch, noise not included.

        Args:
            choices: alpha indices, one a step of the backbone's graph.
        """
        features = self._features(backbone, tuple(choices))
        return self._value(features, self._posterior.mean), self._scale * math.sqrt(
            self._posterior.variance(features)
        )

    def _function(self, terms: _Terms, weights: Float64) -> Function:
        intercept, edges = terms.function(self._scale * weights)
        return self._center + intercept, edges

    def _layers(self, terms: _Terms, weights: Float64) -> Layers:
        found = terms.layers(self._scale * weights)
        return replace(found, intercept=self._center + found.intercept)

    def _value(self, features: Float64, weights: Float64) -> float:
        return self._center + self._scale * float(features @ weights)

    def _features(self, backbone: str, choices: tuple[int, ...]) -> Float64:
        key = backbone, choices
        if key not in self._known:
            self._known[key] = self._terms[backbone].features(choices)
        return self._known[key]

    def _variances(self, deviation: float) -> Float64:
        """Prior variance of each weight, (D,)."""
        variances: Float64 = np.array([1.0, 0.5, deviation / 2])[self._groups]
        return variances


def _best(
    posterior: Callable[[float, float], Posterior], count: int
) -> tuple[tuple[float, float], Posterior]:
    """Noise and deviation of the greatest evidence, and the posterior with them: noises at the starting
    deviation, then deviations.

    Args:
        posterior: by noise and deviation.
        count: architectures with a score.
    """
    if count < ENOUGH:
        return START, posterior(*START)
    by_noise = {noise: posterior(noise, START[1]) for noise in NOISES}
    noise = max(by_noise, key=lambda value: by_noise[value].evidence)
    tried = {START[1]: by_noise[noise]}
    tried |= {each: posterior(noise, each) for each in DEVIATIONS if each != START[1]}
    deviation = max(tried, key=lambda value: tried[value].evidence)
    return (noise, deviation), tried[deviation]


class _Names:
    """Columns of the weights, given out by name: backbones that use a name share the weight."""

    def __init__(self) -> None:
        self._columns: dict[object, int] = {}
        self.groups: list[int] = []
        """For each column its prior: 0 an intercept, 1 a shared effect, 2 a deviation."""

    def column(self, group: int, *name: object) -> int:
        if name not in self._columns:
            self._columns[name] = len(self.groups)
            self.groups.append(group)
        return self._columns[name]


class _Terms:
    """One backbone's terms: what an architecture is to the model, and what a function is on the graph.

    Local features z of an architecture, (M,): 1, cost, then u_l and v_l of each layer, then the pairs'
    products; v is u^2 less its mean over the alphas. `spread`, (M, D), leads from them to the features of
    the weights: phi = z @ spread.
    """

    def __init__(
        self, arm: str, members: Members, names: _Names, graph: ChoiceGraph, *, pairwise: bool
    ) -> None:
        self._graph = graph
        alphas = np.array([float(alpha) for alpha in members.alphas])
        half = (alphas[-1] - alphas[0]) / 2 or 1.0
        u = (alphas - alphas[0]) / half - (len(alphas) > 1)
        self._levels: Float64 = np.stack([u, u * u - float(np.mean(u * u))])
        self._arm = arm
        self._members = members
        self._half = max((graph.max_cost - graph.min_cost) / 2, 1)
        self._middle = (graph.max_cost + graph.min_cost) / 2
        position = {slot.index: i for i, slot in enumerate(members.slots)}
        self._pairs: Int64 = np.array(
            [
                (position[other], i)
                for i, step in enumerate(graph.steps)
                for other in (step.known if pairwise else ())
            ],
            dtype=np.int64,
        ).reshape(-1, 2)
        self._entries = self._loadings(names)
        self._spread: Float64 = np.zeros((0, 0))
        self._edges = self._on_edges()
        self._ends = [*accumulate(step.source.size for step in graph.steps)][:-1]

    def widen(self, columns: int) -> None:
        """Make `spread` once the number of weights of all backbones is known."""
        self._spread = np.zeros((2 + 2 * len(self._members.slots) + len(self._pairs), columns))
        for row, column, value in self._entries:
            self._spread[row, column] = value

    def features(self, choices: Sequence[int]) -> Float64:
        """phi of an architecture, (D,)."""
        local = self._levels[:, list(choices)]
        cost = (self.macs(choices) - self._middle) / self._half
        pairs = local[0, self._pairs[:, 0]] * local[0, self._pairs[:, 1]]
        return np.concatenate([[1.0, cost], local.ravel(), pairs]) @ self._spread

    def function(self, weights: Float64) -> Function:
        """Intercept and, for each step, edge scores (E,) of the function phi @ weights."""
        local = self._spread @ weights
        edges, count = self._edges, len(self._members.slots)
        first, second, pairs = np.split(local[2:], [count, 2 * count])
        scores = local[1] * edges.cost + first[edges.layer] * edges.u + second[edges.layer] * edges.v
        if len(pairs):
            scores += (pairs[edges.pair] * edges.product).sum(axis=1)
        constant = (self._graph.constant - self._middle) / self._half
        return float(local[0] + local[1] * constant), np.split(scores, self._ends)[:count]

    def layers(self, weights: Float64) -> Layers:
        """The function phi @ weights without its pairs."""
        local = self._spread @ weights
        count = len(self._members.slots)
        first, second = local[2 : 2 + count], local[2 + count : 2 + 2 * count]
        return Layers(
            intercept=float(local[0] - local[1] * self._middle / self._half),
            per_mac=float(local[1] / self._half),
            table=np.outer(first, self._levels[0]) + np.outer(second, self._levels[1]),
        )

    def macs(self, choices: Sequence[int]) -> int:
        """Multiply-adds of an architecture."""
        lows = [0] * len(self._members.lows)
        for slot, choice in zip(self._members.slots, choices, strict=True):
            lows[slot.index] = self._members.lows[slot.index][choice]
        return self._members.macs(lows)

    def _loadings(self, names: _Names) -> list[tuple[int, int, float]]:
        """The entries of `spread`: row, column, value."""
        backbone, slots = self._members.backbone, self._members.slots
        entries = [(0, names.column(0, self._arm), 1.0), (1, names.column(1, "cost"), 1.0)]
        of_stage = Counter(slot.stage for slot in slots)
        count = max(len(of_stage), 1)
        for power in (1, 2):
            for i, slot in enumerate(slots):
                n = of_stage[slot.stage]
                entries += [
                    (2 + (power - 1) * len(slots) + i, column, value)
                    for column, value in (
                        (names.column(1, power), 1 / (n * count)),
                        (names.column(1, power, slot.stage), 1 / (n * count**0.5)),
                        (names.column(2, power, backbone, slot.index), (n * count) ** -0.5),
                    )
                ]
        stages = [slots[second].stage for _, second in self._pairs.tolist()]
        for i, stage in enumerate(stages):
            n, row = stages.count(stage), 2 + 2 * len(slots) + i
            entries.append((row, names.column(1, "pair", stage), 1 / (n * count**0.5)))
            entries.append((row, names.column(2, "pair", backbone, i), (n * count) ** -0.5))
        return entries

    def _on_edges(self) -> _Edges:
        graph, pairs = self._graph, self._pairs.tolist()
        position = {slot.index: i for i, slot in enumerate(self._members.slots)}
        numbers = {(first, second): i for i, (first, second) in enumerate(pairs)}
        most = max((len(step.known) for step in graph.steps), default=0) if pairs else 0
        count = sum(step.choice.size for step in graph.steps)
        edges = _Edges(
            layer=np.zeros(count, dtype=np.int64),
            u=np.zeros(count),
            v=np.zeros(count),
            cost=np.zeros(count),
            pair=np.zeros((count, most), dtype=np.int64),
            product=np.zeros((count, most)),
        )
        start = 0
        for i, step in enumerate(graph.steps):
            at = slice(start, start := start + step.choice.size)
            edges.layer[at] = i
            edges.u[at], edges.v[at] = self._levels[:, step.choice]
            edges.cost[at] = step.cost / self._half
            for j, slot in enumerate(step.known if pairs else ()):
                edges.pair[at, j] = numbers[position[slot], i]
                edges.product[at, j] = self._levels[0][step.memory[step.source, j]] * edges.u[at]
        return edges


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edges:
    """The local features of all edges of a graph, one step after the other, (E,), with E over all steps."""

    layer: Int64
    u: Float64
    v: Float64
    cost: Float64
    pair: Int64
    """Number of the pair of each alpha that the edge's source remembers, (E, most), 0 where there is none."""
    product: Float64
    """Product of the edge's alpha with that one, 0 where there is none, (E, most)."""
