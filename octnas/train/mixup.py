"""Mixup: each image and its label blended with another's of the same batch.

H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018: x = l x_i + (1 - l) x_j and
y = l y_i + (1 - l) y_j, with l ~ Beta(alpha, alpha); as in the authors' code one l a batch, and j a
permutation of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Mixing", "draw_mixing"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixing:
    """How the images of one batch are blended."""

    share: float
    """Of an image itself, 0 to 1."""
    partners: Tensor
    """The other image of each, int64 (B,)."""

    def inputs(self, inputs: Tensor) -> Tensor:
        """Blended inputs, of the shape and strides of `inputs`."""
        others = inputs.index_select(0, self.partners.to(inputs.device, non_blocking=True))
        mixed = torch.lerp(others, inputs, self.share)
        return torch.empty_like(inputs).copy_(mixed) if mixed.stride() != inputs.stride() else mixed

    def loss(self, logits: Tensor, labels: Tensor, *, label_smoothing: float) -> Tensor:
        """The cross-entropy to the blended labels: the blend of the two cross-entropies.

        Args:
            logits: (B, classes).
            labels: of the images themselves, int64 (B,).
        """
        own, other = (
            functional.cross_entropy(logits, each, label_smoothing=label_smoothing)
            for each in (labels, labels.index_select(0, self.partners.to(labels.device, non_blocking=True)))
        )
        return self.share * own + (1 - self.share) * other


def draw_mixing(alpha: float, count: int, *, batch: tuple[int, ...], rank: int) -> Mixing:
    """The blend of a batch, or of a worker's share of it.

    Args:
        alpha: of the Beta distribution, positive.
        count: images of the share.
        batch: what names the batch, a seed and a step: all its shares have one lambda.
        rank: the worker: its images are blended with its own.
    """
    share = float(np.random.default_rng(batch).beta(alpha, alpha))
    # With a 0 it would be the share's own stream: NumPy pads seeds with zeros.
    partners = np.random.default_rng([*batch, 1 + rank]).permutation(count)
    return Mixing(share=share, partners=torch.from_numpy(partners))
