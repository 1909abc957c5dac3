"""Mixup: what is blended, by how much, and the loss of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.train import ProxyTraining, TrainSettings
from octnas.train.mixup import draw_mixing


def test_inputs_and_loss_are_those_of_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 4, 4, generator=generator).contiguous(memory_format=torch.channels_last)
    labels, logits = torch.tensor([0, 1, 2, 3, 4, 0]), torch.randn(6, 5, generator=generator)
    mixing = draw_mixing(0.7, 6, batch=(1, 2, 3), rank=0)
    mixed = mixing.inputs(x)
    assert mixed.stride() == x.stride()
    for i, j in enumerate(mixing.partners.tolist()):
        torch.testing.assert_close(mixed[i], mixing.share * x[i] + (1 - mixing.share) * x[j])
    # The cross-entropy to blended, smoothed one-hot labels.
    hot = 0.9 * functional.one_hot(labels, 5) + 0.1 / 5
    blended = mixing.share * hot + (1 - mixing.share) * hot[mixing.partners]
    wanted = -(blended * torch.log_softmax(logits, 1)).sum(1).mean()
    torch.testing.assert_close(mixing.loss(logits, labels, label_smoothing=0.1), wanted)


def test_a_batch_has_one_share_and_every_worker_its_own_partners() -> None:
    first, second = (draw_mixing(0.2, 32, batch=(5, 9), rank=rank) for rank in (0, 1))
    assert first.share == second.share
    assert sorted(first.partners.tolist()) == list(range(32))
    assert not torch.equal(first.partners, second.partners)
    assert draw_mixing(0.2, 32, batch=(5, 10), rank=0).share != first.share


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_have_the_moments_of_their_distribution(alpha: float) -> None:
    shares = np.array([draw_mixing(alpha, 2, batch=(0, step), rank=0).share for step in range(3000)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert shares.mean() == pytest.approx(0.5, abs=4 * (variance / 3000) ** 0.5)
    assert shares.var() == pytest.approx(variance, rel=0.1)


def test_a_training_with_mixup_repeats_and_is_another(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    mixed = dataclasses.replace(settings, mixup=0.5, epochs=1)
    losses = [ProxyTraining(tiny, corners, mixed, seed=0).run_epoch().train_loss for _ in range(2)]
    plain = (
        ProxyTraining(tiny, corners, dataclasses.replace(settings, epochs=1), seed=0).run_epoch().train_loss
    )
    assert losses[0] == losses[1] != plain
