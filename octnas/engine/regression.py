"""A regression on scored architectures, and how well it orders those that it did not see.

A Gaussian process over the alphas learns from the scores. Its ranking is measured by cross-validation beside
what shuffled scores and compute alone reach.

Why a Gaussian process: where the layers of a stage act together, ridge regression on alphas, their squares
and neighbouring products orders losses on shared weights worse (tau .61 against .88); with an alpha a layer,
gradient boosting and extra trees do (.73 against .83). One kernel of three numbers is the best or near it on
each (`benchmarks/predictor.py`), and is fitted in a second. C. E. Rasmussen and C. K. I. Williams, "Gaussian
Processes for Machine Learning", 2006, sections 2.2 and 4.2 (Matérn 5/2).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octnas.architecture import Architecture
from octnas.front.correlation import agreement, kendall
from octnas.space import SearchSpace

__all__ = ["FEWEST", "HeldOut", "Predictor"]

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

FEWEST = 30
"""Scores below which nothing is predicted: five folds of them say too little."""
MOST = 2000
"""Scores that are learned from, at random where there are more: the fit takes the cube of their number."""
FOLDS = 5
SHUFFLES = 39
"""Fits to shuffled scores: a ranking above all of them is above noise at the level of 1 in 40."""
TUNED = 300
"""Scores, drawn from all, on which the kernel's three numbers are chosen."""
RESAMPLES = 1000
"""Of the bootstrap interval."""
_CHUNK = 2000
"""Architectures that are predicted at once."""
_BACKBONE, _SHARED, _LAYERS = 2.0, 0.5, 2.0
"""Weights in the kernel's distance: of another backbone, of each column that backbones share, and of all
layers of one backbone together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """How well a predictor orders architectures that it did not see, as Kendall's tau with their scores."""

    scored: int
    """Architectures with scores."""
    tau: float | None
    """By cross-validation; None where there were too few scores, or all the same."""
    tau_interval: tuple[float, float] | None
    """95 %, by bootstrap over architectures."""
    noise: float
    """The highest tau of as many fits to shuffled scores."""
    baseline: float
    """Tau of ranking by backbone and GFLOPs alone."""

    @property
    def useful(self) -> bool:
        """Whether even the interval's lower end is above both `noise` and `baseline`."""
        return self.tau_interval is not None and self.tau_interval[0] > max(self.noise, self.baseline)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        interval = None if self.tau_interval is None else list(self.tau_interval)
        return {
            "scored": self.scored,
            "tau": self.tau,
            "tau_interval": interval,
            "noise": self.noise,
            "baseline": self.baseline,
            "useful": self.useful,
        }


class Predictor:
    """Scores of architectures of one space, of any of its backbones in 2D and 3D, learned from some of them.

    Args:
        seed: of the folds, the shuffles and the scores that are drawn.
    """

    def __init__(self, space: SearchSpace, *, seed: int = 0) -> None:
        self._space = space
        self._seed = seed
        self._rows: _Rows | None = None
        self._model: Any = None
        self.held_out = HeldOut(scored=0, tau=None, tau_interval=None, noise=0.0, baseline=0.0)
        """Of the last `fit`."""

    @property
    def useful(self) -> bool:
        """Whether rankings of the last `fit` are to be used; see `HeldOut`."""
        return self.held_out.useful

    def fit(self, architectures: Sequence[Architecture], scores: Sequence[float]) -> None:
        """Learns from scores (higher is better), and measures how well that orders what is held out.

        Args:
            architectures: distinct members of the space.
        """
        rng = np.random.default_rng(self._seed)
        chosen = rng.permutation(len(scores))[:MOST]
        known = [architectures[i] for i in chosen]
        y = np.asarray(scores, dtype=np.float64)[chosen]
        if len(y) < FEWEST or float(np.ptp(y)) == 0.0:
            self._rows = self._model = None
            self.held_out = HeldOut(scored=len(scores), tau=None, tau_interval=None, noise=0.0, baseline=0.0)
            return
        self._rows = _Rows(self._space, known)
        rows = self._rows(known)
        self._model = _fit(rows, y, _kernel(rows, y, rng))
        self.held_out = self._measure(known, y, len(scores), rng)

    def predict(self, architectures: Sequence[Architecture]) -> Float64:
        """Predicted scores (N,) of members with a backbone that was seen.

        Raises:
            ValueError: there was too little to learn from.
        """
        if self._rows is None:
            raise ValueError(f"`fit` must have {FEWEST} or more scores that differ, but has had fewer")
        found = [
            self._model.predict(self._rows(architectures[at : at + _CHUNK]))
            for at in range(0, len(architectures), _CHUNK)
        ]
        return np.concatenate([np.zeros(0), *found])

    def _measure(
        self, known: Sequence[Architecture], y: Float64, scored: int, rng: np.random.Generator
    ) -> HeldOut:
        """Each fold is predicted by a model of the others, with the same folds for shuffles and baseline."""
        from sklearn.linear_model import LinearRegression
        from sklearn.model_selection import KFold

        shuffled = np.column_stack([rng.permutation(y) for _ in range(SHUFFLES)])
        plain = _compute(self._space, known)
        own, by_compute = np.zeros(len(y)), np.zeros(len(y))
        of_shuffled = np.zeros(shuffled.shape)
        for seen, held in KFold(FOLDS, shuffle=True, random_state=self._seed).split(plain):
            parts = [known[i] for i in seen]
            scale = _Rows(self._space, parts)
            # a backbone that only the held-out part has cannot be placed: the mean is what is known of it
            apart = np.array([scale.knows(known[i]) for i in held])
            rows, others = scale(parts), scale([known[i] for i in held[apart]])
            kernel = _kernel(rows, y[seen], rng)
            own[held] = y[seen].mean()
            own[held[apart]] = _fit(rows, y[seen], kernel).predict(others)
            of_shuffled[held] = shuffled[seen].mean(axis=0)
            of_shuffled[held[apart]] = _fit(rows, shuffled[seen], kernel).predict(others)
            by_compute[held] = LinearRegression().fit(plain[seen], y[seen]).predict(plain[held])
        found = agreement(own, y, resamples=RESAMPLES, seed=self._seed)
        noise = max(kendall(of_shuffled[:, i], shuffled[:, i]) or 0.0 for i in range(SHUFFLES))
        alone = [kendall(by_compute, y), kendall([self._space.gflops(each) for each in known], y)]
        return HeldOut(
            scored=scored,
            tau=found.tau,
            tau_interval=found.tau_interval,
            noise=noise,
            baseline=max(tau or 0.0 for tau in alone),
        )


class _Rows:
    """Architectures as rows of numbers, whose distance says how different their scores may be.

    Which backbone; its cost in shares of the dearest member's and, of each stage, the means of the layers'
    alphas and of their squares (0 of a stage that the backbone does not have), these shared by all
    backbones; and the alpha of each layer, of each backbone in columns of its own. Each column is scaled to
    mean 0 and variance 1 over the architectures given.
    """

    def __init__(self, space: SearchSpace, architectures: Sequence[Architecture]) -> None:
        self._space = space
        self._names = tuple(
            name for name in space.backbones if any(a.backbone == name for a in architectures)
        )
        stages = {slot.stage for name in self._names for slot in space.members(name).slots}
        self._stages = sorted(stages)
        layers = [len(space.members(name).slots) for name in self._names]
        self._starts = np.cumsum([0, *layers])
        shared, own = self._raw(architectures)
        self._shared = _scale(shared)
        self._own = [_scale(own[rows, start:end]) for rows, start, end in self._blocks(architectures)]

    def knows(self, architecture: Architecture) -> bool:
        """Whether its backbone was among those given."""
        return architecture.backbone in self._names

    def __call__(self, architectures: Sequence[Architecture]) -> Float64:
        """(N, D)."""
        shared, own = self._raw(architectures)
        mean, spread = self._shared
        scaled = np.zeros_like(own)
        which = np.zeros((len(architectures), len(self._names)))
        for i, (rows, start, end) in enumerate(self._blocks(architectures)):
            center, width = self._own[i]
            scaled[rows, start:end] = (own[rows, start:end] - center) / width / max(1, end - start) ** 0.5
            which[rows, i] = 1.0
        return np.concatenate(
            [_BACKBONE * which, _SHARED * (shared - mean) / spread, _LAYERS * scaled], axis=1
        )

    def _raw(self, architectures: Sequence[Architecture]) -> tuple[Float64, Float64]:
        """Cost and means by stage (N, 1 + 2 stages), and all layers' alphas (N, layers of all)."""
        shared = np.zeros((len(architectures), 1 + 2 * len(self._stages)))
        own = np.zeros((len(architectures), int(self._starts[-1])))
        for rows, start, end in self._blocks(architectures):
            if not len(rows):
                continue
            members = self._space.members(architectures[rows[0]].backbone)
            lows = np.array([architectures[i].low_channels for i in rows], dtype=np.int64)
            alphas = lows[:, [slot.index for slot in members.slots]] / [
                slot.channels for slot in members.slots
            ]
            shared[rows, 0] = members.costs.macs(lows) / members.graph.max_cost
            of = np.array([slot.stage for slot in members.slots])
            for i, stage in enumerate(self._stages):
                if (of == stage).any():
                    inside = alphas[:, of == stage]
                    shared[rows, 1 + 2 * i] = inside.mean(axis=1)
                    shared[rows, 2 + 2 * i] = (inside**2).mean(axis=1)
            own[rows, start:end] = alphas
        return shared, own

    def _blocks(self, architectures: Sequence[Architecture]) -> list[tuple[Int64, int, int]]:
        """For each backbone its rows, and first and last column of its layers."""
        named = np.array([each.backbone for each in architectures])
        return [
            (np.flatnonzero(named == name), int(self._starts[i]), int(self._starts[i + 1]))
            for i, name in enumerate(self._names)
        ]


def _scale(columns: Float64) -> tuple[Float64, Float64]:
    """Mean and standard deviation of each column, 1 where it does not vary."""
    spread = columns.std(axis=0)
    return columns.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)


def _compute(space: SearchSpace, architectures: Sequence[Architecture]) -> Float64:
    """Which backbone, and GFLOPs (10^9 multiply-adds): (N, backbones + 1)."""
    which = [[float(each.backbone == name) for name in space.backbones] for each in architectures]
    return np.column_stack([np.array(which), [space.gflops(each) for each in architectures]])


def _kernel(rows: Float64, y: Float64, rng: np.random.Generator) -> Any:
    """Variance, length and noise of the greatest marginal likelihood on some of the scores."""
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    start = ConstantKernel(1.0, (1e-2, 1e3)) * Matern(2.0, (0.3, 300.0), nu=2.5) + WhiteKernel(
        0.3, (1e-4, 10.0)
    )
    some = rng.permutation(len(y))[:TUNED]
    return _fit(rows[some], y[some], start, tune=True).kernel_


def _fit(rows: Float64, y: Float64, kernel: Any, *, tune: bool = False) -> Any:
    """A Gaussian process; `y` is (N,), or (N, K) of K sets of scores at once."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor

    optimizer = "fmin_l_bfgs_b" if tune else None
    with warnings.catch_warnings():
        # a length or a noise at the end of its range is an answer, not a failure
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel, normalize_y=True, optimizer=optimizer).fit(rows, y)
