"""Shared scores on a line of accuracy on loss, a line a backbone."""

from __future__ import annotations

import numpy as np
import pytest

from octnas.architecture import Architecture
from octnas.front.smoothing import FEWEST, smoothed
from octnas.record import SharedScore


def scores(backbone: str, accuracies: list[float], losses: list[float]) -> list[SharedScore]:
    architecture = Architecture.uniform(backbone, alpha=0.5)
    return [
        SharedScore(architecture=architecture, accuracy=accuracy, loss=loss)
        for accuracy, loss in zip(accuracies, losses, strict=True)
    ]


def test_each_backbone_has_the_least_squares_line_through_its_own_scores() -> None:
    rng = np.random.default_rng(0)
    losses = rng.uniform(0.5, 1.0, 20)
    first = 0.9 - 0.2 * losses + rng.normal(0, 0.01, 20)
    second = 0.7 - 0.4 * losses + rng.normal(0, 0.01, 20)
    found = smoothed(
        [
            *scores("resnet18", first.tolist(), losses.tolist()),
            *scores("resnet50", second.tolist(), losses.tolist()),
        ]
    )
    expected = [np.polyval(np.polyfit(losses, each, 1), losses) for each in (first, second)]
    assert found == pytest.approx(np.concatenate(expected).tolist())
    assert (np.argsort(found[:20]) == np.argsort(-losses)).all()


@pytest.mark.parametrize(
    ("accuracies", "losses"),
    [
        ([0.1 * i for i in range(FEWEST - 1)], [1.0 - 0.1 * i for i in range(FEWEST - 1)]),  # too few
        ([0.1 * i for i in range(FEWEST)], [0.1 * i for i in range(FEWEST)]),  # rising
        ([0.1 * i for i in range(FEWEST)], [0.5] * FEWEST),  # all the same
    ],
)
def test_accuracies_stay_where_no_falling_line_can_be_drawn(
    accuracies: list[float], losses: list[float]
) -> None:
    assert smoothed(scores("resnet18", accuracies, losses)) == pytest.approx(accuracies)


def test_no_scores_are_no_accuracies() -> None:
    assert smoothed([]) == []
