"""Shared scores with less noise: the accuracy that an architecture's loss stands for.

On one backbone's weights the validation loss orders architectures as their own training does better than
accuracy, which counts images and little else: on the tabulated space tau within ResNet-18 is .29 (.21 to .36)
by loss and .12 (.04 to .19) by accuracy (`benchmarks/README.md`). What is reported and compared over
backbones are accuracies, so losses are put on their scale: a line of accuracy on loss through the scores of
each backbone. (Losses of different supernets as they are need not compare.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octnas.record import SharedScore

__all__ = ["Lines", "smoothed"]

FEWEST = 8
"""Scores of a backbone from which on a line is drawn through them."""


class Lines:
    """A line of accuracy on loss through the scores of each backbone, by least squares."""

    def __init__(self, scores: Sequence[SharedScore]) -> None:
        self._lines: dict[str, tuple[float, float, float]] = {}
        by_backbone: dict[str, list[tuple[float, float]]] = {}
        for each in scores:
            by_backbone.setdefault(each.architecture.backbone, []).append((each.accuracy, each.loss))
        for name, points in by_backbone.items():
            accuracies, losses = np.array(points).T
            apart = losses - losses.mean()
            spread = float(apart @ apart)
            slope = float(apart @ accuracies) / spread if spread > 0 else 0.0
            if len(points) >= FEWEST and slope < 0:
                self._lines[name] = float(accuracies.mean()), float(losses.mean()), slope

    def __call__(self, score: SharedScore) -> float:
        """The accuracy on the line of its backbone; its own where no falling line could be drawn."""
        line = self._lines.get(score.architecture.backbone)
        if line is None:
            return score.accuracy
        accuracy, loss, slope = line
        return accuracy + slope * (score.loss - loss)


def smoothed(scores: Sequence[SharedScore]) -> list[float]:
    """The accuracy of each score on the lines through all of them."""
    lines = Lines(scores)
    return [lines(each) for each in scores]
