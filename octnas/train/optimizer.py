"""The optimiser of a training."""

from __future__ import annotations

import torch
from torch import nn

from octnas.train.settings import TrainSettings

__all__ = ["make_optimizer"]


def make_optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimiser that the settings name; weights of convolutions and classifiers decay, vectors do not."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.99), fused=True)
    nesterov = settings.momentum > 0
    return torch.optim.SGD(
        groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=nesterov, fused=True
    )
