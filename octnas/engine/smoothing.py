"""Shared scores with less noise: the accuracy that an architecture's loss stands for.

On one backbone's weights the validation loss orders architectures as their own training does better than
accuracy, which counts images and little else: on the tabulated space tau is .50 to .57 by loss and .07 to .29
by accuracy (`benchmarks/shared_weights.py`). What is reported and compared over backbones are accuracies, so
losses are put on their scale: a line of accuracy on loss through the scores of each backbone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octnas.record import SharedScore

__all__ = ["smoothed"]

FEWEST = 8
"""Scores of a backbone from which on a line is drawn through them."""


def smoothed(scores: Sequence[SharedScore]) -> list[float]:
    """For each score the accuracy on the line of its backbone; its own where no falling line can be drawn."""
    found = np.array([each.accuracy for each in scores])
    losses = np.array([each.loss for each in scores])
    names = np.array([each.architecture.backbone for each in scores])
    for name in dict.fromkeys(names.tolist()):
        own = names == name
        loss = losses[own] - losses[own].mean()
        spread = float(loss @ loss)
        slope = float(loss @ found[own]) / spread if spread > 0 else 0.0
        if own.sum() >= FEWEST and slope < 0:
            found[own] = found[own].mean() + slope * loss
    return [float(each) for each in found]
