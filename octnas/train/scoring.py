"""Accuracies of many architectures on one set of shared weights, without training any of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from octnas.architecture import Architecture
from octnas.data import ImageSet, Split
from octnas.nn import OctaveNetwork, build
from octnas.nn.shared import share
from octnas.train.evaluate import evaluate_network
from octnas.train.form import fastest_form
from octnas.train.recalibrate import calibration_batches, recalibrate
from octnas.train.settings import TrainSettings
from octnas.train.speed import mode_of

__all__ = ["SCORED_IMAGES", "SharedScorer", "score_shared"]

SCORED_IMAGES = 2000
"""Validation images behind a shared score, where there are as many."""
SUBSET_SEED = 0


class SharedScorer:
    """Scores architectures of one backbone on the weights of its supernet.

    Batch-norm statistics are estimated anew for each architecture on a few hundred training images, then the
    network is scored on validation images that no weight was trained on.

    Args:
        plain: any architecture of the backbone, at the width and stem of the weights.
        state: the supernet's state dict; of its batch-norm statistics nothing is used.
        data: the images, or clips, that the supernet was trained on.
        settings: of the supernet's training: device, number format, threads, batch sizes.
        images: validation images of a score; None: all.
    """

    def __init__(
        self,
        plain: Architecture,
        state: Mapping[str, Tensor],
        data: ImageSet,
        settings: TrainSettings,
        *,
        images: int | None = SCORED_IMAGES,
    ) -> None:
        self._mode = mode_of(settings)
        self._data = data
        self._settings = settings
        network = build(plain, num_classes=len(data.classes), in_channels=data.channels)
        network.load_state_dict(state)
        layout = self._mode.memory_format(plain.dims)
        self._network = network.to(self._mode.device).to(memory_format=layout)
        self._split = _scored(data.val, images)
        self._calibration = calibration_batches(data.train, data, self._mode)

    def score(self, architecture: Architecture) -> tuple[float, float]:
        """Accuracy (0 to 1) and mean cross-entropy of a proxy architecture of the same backbone.

        Raises:
            ArchitectureError: another backbone, width or stem.
        """
        return score_shared(
            self._network,
            architecture,
            self._split,
            self._calibration,
            data=self._data,
            settings=self._settings,
        )


def score_shared(
    network: OctaveNetwork,
    architecture: Architecture,
    split: Split,
    calibration: list[Tensor],
    *,
    data: ImageSet,
    settings: TrainSettings,
) -> tuple[float, float]:
    """Accuracy and loss of an architecture on the weights of `network`, which stays as it is.

    Args:
        split: the images of the score.
        calibration: normalised inputs behind the batch-norm statistics.
    """
    mode = mode_of(settings)
    shared = share(network, architecture)
    forward = fastest_form(
        shared, size=(data.size, data.size), clips=data.frames is not None, mode=mode, compiled=False
    )
    recalibrate(shared, calibration, mode=mode, forward=forward)
    with torch.no_grad():
        return evaluate_network(
            shared,
            split,
            mean=data.mean,
            std=data.std,
            mode=mode,
            batch_size=settings.val_batch_size,
            forward=forward,
        )


def _scored(split: Split, images: int | None) -> Split:
    return split if images is None or images >= len(split) else split.subset(images, SUBSET_SEED)
