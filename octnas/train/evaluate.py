"""Accuracy and loss of a network on images, or clips, that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from octnas.data import Split, normalise
from octnas.train.speed import Mode
from octnas.train.team import Team

__all__ = ["evaluate_network", "to_input"]


def to_input(images: Tensor, *, mean: Sequence[float], std: Sequence[float], mode: Mode) -> Tensor:
    """A batch of uint8 images (B, C, H, W), or clips (B, C, T, H, W), as a network's input: normalised
    float32 in the mode's layout.

    The images must be on the mode's device.
    """
    return normalise(images, mean, std).contiguous(memory_format=mode.memory_format(images.ndim - 2))


def evaluate_network(
    network: nn.Module,
    split: Split,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    mode: Mode,
    batch_size: int = 250,
    forward: Callable[[Tensor], Tensor] | None = None,
    team: Team | None = None,
) -> tuple[float, float]:
    """Accuracy (0 to 1) and mean cross-entropy (nats an image) over all images of a split.

    `mean` and `std` are those of the image set. The network is left in the mode (training or not) in which
    it came. `forward` calls the network, where that is not to be done directly. The workers of a `team` all
    call this with equal networks, evaluate a share of the images each, and get the numbers of all.
    """
    was_training = network.training
    network.eval()
    correct = torch.zeros((), dtype=torch.int64, device=mode.device)
    loss = torch.zeros((), dtype=torch.float64, device=mode.device)
    seen = 0
    try:
        with torch.inference_mode():
            order = None if team is None else np.arange(team.rank, len(split), team.size)
            for images, labels in split.batches(batch_size, order=order):
                x = to_input(images.to(mode.device, non_blocking=True), mean=mean, std=std, mode=mode)
                with mode.autocast():
                    logits = (forward or network)(x)
                logits = logits.float()
                labels = labels.to(mode.device, non_blocking=True)
                correct += (logits.argmax(1) == labels).sum()
                loss += functional.cross_entropy(logits, labels, reduction="sum")
                seen += len(labels)
    finally:
        network.train(was_training)
    if team is not None:
        sums = team.summed(torch.stack([correct.double(), loss, torch.full_like(loss, seen)])).tolist()
        return sums[0] / sums[2], sums[1] / sums[2]
    return correct.item() / seen, loss.item() / seen
