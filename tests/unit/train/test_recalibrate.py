"""Batch-norm statistics estimated anew: against hand-made means, and what a shared running mean costs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.nn import build
from octnas.nn.shared import share
from octnas.train import TrainSettings, evaluate_network
from octnas.train.evaluate import to_input
from octnas.train.form import fastest_form
from octnas.train.recalibrate import calibration_batches, recalibrate
from octnas.train.speed import Mode
from octnas.train.supernet import Sandwich, SupernetTraining

MODE = Mode(device=torch.device("cpu"), precision="fp32")


def uniform(alpha: float, width: int = 4) -> Architecture:
    return Architecture.uniform(
        "resnet18", alpha=alpha, width=width, stem="small", input_size=32, downsample="pooled"
    )


def test_statistics_are_means_over_the_batches() -> None:
    torch.manual_seed(0)
    batches = [torch.randn(6, 1, 16, 16) * (1 + i) + i for i in range(3)]
    network = build(uniform(0.5), num_classes=4, in_channels=1)
    network.train()(torch.randn(8, 1, 16, 16))  # what was there before must not matter
    recalibrate(network, batches, mode=MODE)
    stem = [functional.conv2d(batch, network.conv1.weight, padding=1) for batch in batches]
    mean = torch.stack([x.mean((0, 2, 3)) for x in stem]).mean(0)
    var = torch.stack([x.var((0, 2, 3), unbiased=True) for x in stem]).mean(0)
    torch.testing.assert_close(network.bn1.running_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.bn1.running_var, var, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_weights_mode_and_momentum_stay(training: bool) -> None:
    network = build(uniform(0.5), num_classes=4, in_channels=1).train(training)
    before = {name: value.clone() for name, value in network.named_parameters()}
    recalibrate(network, [torch.randn(4, 1, 16, 16)], mode=MODE)
    assert network.training is training
    assert {module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm2d)} == {0.1}
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())
    assert all(value.grad is None for value in network.parameters())


def test_the_packed_form_estimates_the_same_statistics() -> None:
    torch.manual_seed(0)
    mode = dataclasses.replace(MODE, precision="bf16")
    batches = [torch.randn(32, 1, 16, 16).to(memory_format=torch.channels_last) for _ in range(2)]
    base = build(uniform(0, 8), num_classes=4, in_channels=1).to(memory_format=torch.channels_last)
    packed, plain = share(base, uniform(0.5, 8)), share(base, uniform(0.5, 8))
    forward = fastest_form(packed, size=(16, 16), clips=False, mode=mode, compiled=False)
    assert forward is not packed
    recalibrate(packed, batches, mode=mode, forward=forward)
    recalibrate(plain, batches, mode=mode)
    for name, value in plain.named_buffers():
        torch.testing.assert_close(packed.get_buffer(name), value, rtol=0.05, atol=0.02)


def test_batches_are_of_one_size_and_always_the_same(corners: ImageSet) -> None:
    first, again = (
        calibration_batches(corners.train, corners, MODE, images=100, batch_size=32) for _ in range(2)
    )
    assert [tuple(batch.shape) for batch in first] == [(32, 1, 16, 16)] * 3
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    everything = calibration_batches(corners.train, corners, MODE, images=10_000, batch_size=1000)
    assert [len(batch) for batch in everything] == [200]
    (images, _), *_ = corners.train.batches(200)
    expected = to_input(images, mean=corners.mean, std=corners.std, mode=MODE)
    torch.testing.assert_close(everything[0].mean(), expected.mean())


def test_a_running_mean_that_architectures_share_is_wrong_for_all_of_them(
    corners: ImageSet, settings: TrainSettings
) -> None:
    """Networks that were trained in turn on one set of statistics: with statistics of its own each has a
    lower loss, and the statistics of a deep layer differ between architectures by more than their spread."""
    architectures = [uniform(0), uniform(0.75), uniform(0.25)]
    sandwich = Sandwich(plain=architectures[0], cheapest=architectures[1], pool=tuple(architectures[2:]))
    training = SupernetTraining(sandwich, corners, dataclasses.replace(settings, epochs=6), seed=0)
    while not training.finished:
        training.run_epoch()
    batches = calibration_batches(corners.train, corners, training.mode)
    mixed = share(training.network, architectures[0])
    running = dict(mixed.named_buffers())
    networks = [share(training.network, each) for each in architectures]
    for _ in range(10):  # as if all had written to one running mean during training
        for network in networks:
            for name, value in running.items():
                network.get_buffer(name).copy_(value)
            network.train()
            with torch.no_grad():
                for batch in batches:
                    network(batch)
            for name, value in network.named_buffers():
                running[name].copy_(value)

    def loss(network: nn.Module) -> float:
        return evaluate_network(network, corners.val, mean=corners.mean, std=corners.std, mode=training.mode)[
            1
        ]

    own_statistics = []
    for network in networks:
        for name, value in running.items():
            network.get_buffer(name).copy_(value)
        shared_loss = loss(network)
        recalibrate(network, batches, mode=training.mode)
        assert loss(network) < shared_loss
        own_statistics.append(network.get_buffer("layer2.1.bn1.running_mean").clone())
    spread = own_statistics[0].std()
    assert float((own_statistics[0] - own_statistics[1]).abs().mean()) > 0.1 * float(spread)
