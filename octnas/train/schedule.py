"""The learning rate by step: a linear warm-up, then half a cosine to zero."""

from __future__ import annotations

import math

__all__ = ["learning_rate"]


def learning_rate(step: int, *, total: int, peak: float, warmup: float) -> float:
    """Learning rate of one step.

    Args:
        step: from 0 to total - 1.
        total: steps of the whole training.
        peak: the highest rate.
        warmup: share of the steps that rise. Step i of w warm-up steps has peak * (i + 1) / (w + 1).

    The last step has a small positive rate: the cosine would reach zero one step later (Loshchilov and
    Hutter 2016, without restarts).
    """
    rising = int(total * warmup)
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))
