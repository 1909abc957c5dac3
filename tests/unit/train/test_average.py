"""The average of weights: its formula, what is scored, and that it outlives an interruption."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.train import ProxyTraining, TrainSettings, evaluate_network, train_and_keep
from octnas.train.recalibrate import calibration_batches, recalibrate


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten().double() for p in network.parameters()])


def test_the_average_is_that_of_the_formula(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    training = ProxyTraining(tiny, corners, dataclasses.replace(settings, ema=0.5), seed=0)
    wanted = weights(training.network)
    for step in range(1, 9):
        training.train_steps(1)
        decay = min(0.5, (1 + step) / (10 + step))  # rises until step 8
        wanted = decay * wanted + (1 - decay) * weights(training.network)
        torch.testing.assert_close(weights(training.result), wanted, rtol=1e-5, atol=1e-7)
    assert training.result is not training.network


def test_training_itself_does_not_depend_on_it(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    with_it, without = (
        ProxyTraining(tiny, corners, dataclasses.replace(settings, ema=ema), seed=0) for ema in (0.9, 0.0)
    )
    assert with_it.run_epoch().train_loss == without.run_epoch().train_loss
    assert torch.equal(weights(with_it.network), weights(without.network))
    assert without.result is without.network


def test_scores_are_the_average_s_with_statistics_of_its_own(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    training = ProxyTraining(tiny, corners, dataclasses.replace(settings, ema=0.9), seed=0)
    score = training.run_epoch(full_validation=True)
    network = ProxyTraining(tiny, corners, settings, seed=1).network
    network.load_state_dict(training.result.state_dict())
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.fill_(3.0)
    recalibrate(network, calibration_batches(corners.train, corners, training.mode), mode=training.mode)
    accuracy, loss = evaluate_network(
        network, corners.val, mean=corners.mean, std=corners.std, mode=training.mode
    )
    assert (score.accuracy, score.loss) == pytest.approx((accuracy, loss), rel=1e-4)


def test_a_resumed_training_has_the_same_average(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, tmp_path: Path
) -> None:
    settings = dataclasses.replace(settings, ema=0.9, mixup=0.2)
    whole, half, rest = (ProxyTraining(tiny, corners, settings, seed=0) for _ in range(3))
    wanted = [whole.run_epoch().loss for _ in range(2)]
    half.run_epoch()
    half.save(tmp_path / "c.pt")
    assert rest.same_as(tmp_path / "c.pt")
    rest.load(tmp_path / "c.pt")
    assert rest.run_epoch().loss == wanted[1]
    assert torch.equal(weights(rest.result), weights(whole.result))
    plain = ProxyTraining(tiny, corners, dataclasses.replace(settings, ema=0.0), seed=0)
    assert not plain.same_as(tmp_path / "c.pt")


def test_the_average_is_what_is_kept(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, tmp_path: Path
) -> None:
    settings = dataclasses.replace(settings, ema=0.9)
    report = train_and_keep(tiny, corners, settings, scale="full", seed=0, folder=tmp_path)
    training = ProxyTraining(tiny, corners, settings, seed=0)
    while not training.finished:
        training.run_epoch()
    kept = load_file(report.checkpoint)
    assert all(torch.equal(kept[name], value) for name, value in training.result.state_dict().items())
    assert json.loads((tmp_path / "training.json").read_text())["settings"]["ema"] == 0.9
