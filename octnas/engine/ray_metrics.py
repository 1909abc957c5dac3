"""Where a search stands, as metrics that Ray exports beside its own: for Prometheus, and a Grafana over it.

They leave through the agent that `ray[default]` runs on each node, as `ray_` and the names below, with the
search's name in the label "search". Where no agent runs they go nowhere and cost the same microseconds.

Ray forgets a gauge that is not set again within two of its reports (of 10 s by default; seen in 2.60), and at
once one that is set to NaN. So all are set at each event, a "pulse" is one where nothing else happens, and
what is over disappears by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from octnas.engine.events import SearchEvent
from octnas.record import TrialState

# isort: split
# `octnas.engine.ray_session` sets what Ray reads when it is imported, so it stands before Ray.
import octnas.engine.ray_session  # noqa: F401

# isort: split
import ray
from ray.util import metrics

__all__ = ["METRICS", "Metric", "SearchMetrics"]

SUGGESTION_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]
"""Seconds, of the histogram's buckets."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One of those below."""

    name: str
    description: str
    labels: tuple[str, ...] = ("search",)
    kind: Literal["gauge", "histogram"] = "gauge"


METRICS = (
    Metric("octnas_trials", "Trials by state", ("search", "state")),
    Metric("octnas_trials_planned", "Candidates and yardsticks that the whole search trains"),
    Metric("octnas_workers", "Trials that run at once; 0 when the search is over"),
    Metric("octnas_worker_idle_ratio", "Share of the workers' time outside training steps, recently"),
    Metric("octnas_images_per_second", "Images that all trainings under way train in a second"),
    Metric("octnas_suggestion_seconds", "Time that the sampler takes for a proposal", kind="histogram"),
    Metric("octnas_best_accuracy", "Validation accuracy, 0 to 1, of the best candidate within the budget"),
    Metric("octnas_front_size", "Members of the front"),
    Metric("octnas_hypervolume", "Share, 0 to 1, of cost and accuracy that the front dominates"),
    Metric("octnas_seconds_left", "Estimate of the time until the search ends; 0 when it is over"),
)


class SearchMetrics:
    """A listener of one search. Nothing that goes wrong here reaches the search.

    Args:
        name: of the search.
    """

    def __init__(self, name: str) -> None:
        self._tags = {"search": name}
        self._by_state = {state: {**self._tags, "state": str(state)} for state in TrialState}
        self._shown = False
        self._off = False

    def __call__(self, event: SearchEvent) -> None:
        if ray.is_initialized():  # what is told before Ray's start would not be exported
            self._safely(lambda: self._show(event))

    def close(self) -> None:
        """The search is over, however it ended: nothing runs, whatever the last event told."""
        if self._shown:
            self._safely(self._show_end)
        self._off = True

    def _safely(self, show: Callable[[], None]) -> None:
        if self._off:
            return
        try:
            show()
        except Exception:
            self._off = True

    def _show(self, event: SearchEvent) -> None:
        if event.seconds_left is not None:
            self._set("seconds_left", event.seconds_left)
            self._shown = True
        # Before the trials, what is planned and done are epochs of supernets, and scores.
        if not event.states:
            return
        self._shown = True
        for state, count in event.states.items():
            self._set("trials", count, self._by_state[state])
        self._set("trials_planned", event.planned)
        self._set("workers", event.workers)
        self._set("worker_idle_ratio", event.idle_share)
        self._set("images_per_second", event.images_per_second)
        self._set("front_size", event.front)
        self._set("best_accuracy", None if event.best is None else event.best.accuracy)
        self._set("hypervolume", None if event.so_far is None else event.so_far.hypervolume)
        if event.proposal_seconds is not None:
            _made()["octnas_suggestion_seconds"].observe(event.proposal_seconds, tags=self._tags)

    def _show_end(self) -> None:
        self._set("trials", 0, self._by_state[TrialState.RUNNING])
        self._set("workers", 0)
        self._set("worker_idle_ratio", math.nan)  # of no workers there is none
        self._set("images_per_second", 0.0)
        self._set("seconds_left", 0.0)

    def _set(self, name: str, value: float | None, tags: dict[str, str] | None = None) -> None:
        if value is not None:
            _made()[f"octnas_{name}"].set(value, tags=tags or self._tags)


@cache
def _made() -> dict[str, Any]:
    """Ray's objects by their names; a process makes each once."""
    made: dict[str, Any] = {}
    for each in METRICS:
        if each.kind == "gauge":
            made[each.name] = metrics.Gauge(each.name, description=each.description, tag_keys=each.labels)
        else:
            made[each.name] = metrics.Histogram(
                each.name, description=each.description, boundaries=SUGGESTION_BOUNDS, tag_keys=each.labels
            )
    return made
