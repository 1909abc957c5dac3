"""Batch-norm statistics of one architecture on weights that it shares with others.

Running statistics that several architectures have written to in turn are right for none of them, as each has
maps of its own. Before any accuracy is read they are estimated anew, as the plain mean over a few batches of
training images of the statistics of each (Yu et al. 2019, "Slimmable Neural Networks" and "Universally
Slimmable Networks", section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from octnas.data import ImageSet, Split
from octnas.errors import DataError
from octnas.train.evaluate import to_input
from octnas.train.speed import Mode

__all__ = ["CALIBRATION_IMAGES", "calibration_batches", "recalibrate"]

CALIBRATION_IMAGES = 512
"""Training images behind the statistics of an architecture."""
CALIBRATION_SEED = 1
"""Of the choice of these images, the same for all architectures."""
BATCH_SIZE = 128


def calibration_batches(
    split: Split,
    data: ImageSet,
    mode: Mode,
    *,
    images: int = CALIBRATION_IMAGES,
    batch_size: int = BATCH_SIZE,
) -> list[Tensor]:
    """Normalised inputs of `images` training images (all, where the split has fewer), on the mode's device.

    Class-balanced, without augmentation, and always the same ones. A last batch of fewer than `batch_size`
    images is left out, unless it is the only one: all batches weigh the same in the mean. Damaged files are
    passed over, and batches filled up with those that follow.

    Raises:
        DataError: more files are damaged than may be, or all of them.
    """
    chosen = split if images >= len(split) else split.subset(images, CALIBRATION_SEED)
    readable = [pixels for pixels, _ in chosen.batches(min(batch_size, len(chosen)))]
    if not readable:
        raise DataError(f"batch-norm statistics need a readable image, but {data.name} has none")
    pixels = torch.cat(readable)
    size = min(batch_size, len(pixels))
    return [
        to_input(each.to(mode.device), mean=data.mean, std=data.std, mode=mode)
        for each in torch.split(pixels, size)
        if len(each) == size
    ]


def recalibrate(
    network: nn.Module,
    batches: Iterable[Tensor],
    *,
    mode: Mode,
    forward: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Estimates a network's batch-norm statistics as means over batches of normalised inputs.

    Weights stay as they are, and so does whether the network is in training.

    Args:
        batches: at least one, each as large as in training or larger.
        forward: calls the network, where that is not to be done directly.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    was_training = network.training
    network.train()
    try:
        with torch.no_grad(), mode.autocast():
            for number, batch in enumerate(batches, start=1):
                for norm in norms:
                    norm.momentum = 1.0 / number  # the first batch replaces what was there
                (forward or network)(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.train(was_training)
