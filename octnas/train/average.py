"""An exponential moving average of a network's weights, which is scored and kept in the network's place."""

from __future__ import annotations

from copy import deepcopy

import torch

from octnas.nn import OctaveNetwork

__all__ = ["WeightAverage"]


class WeightAverage:
    """The average a of weights w over the steps of a training: a = d a + (1 - d) w after each.

    The decay rises to the one that is asked for, d = min(decay, (1 + t) / (10 + t)) at step t, as in
    TensorFlow's `ExponentialMovingAverage`: a short training is not an average of its start.

    Attributes:
        network: the averaged network; its batch-norm statistics are for its owner to estimate.
    """

    def __init__(self, network: OctaveNetwork, decay: float) -> None:
        self.decay = decay
        self.network = deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: OctaveNetwork, step: int) -> None:
        """Takes in the weights of `network` after `step` steps (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)
