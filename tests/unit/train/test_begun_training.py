"""A training that begins from given weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from octnas.architecture import Architecture
from octnas.data import ImageSet, MemorySplit, normalise
from octnas.errors import RunError
from octnas.record import EpochScore
from octnas.train import ProxyTraining, TrainSettings
from octnas.train.settings import warm_settings


@pytest.fixture(scope="module")
def learned(corners: ImageSet, tiny: Architecture) -> dict[str, Tensor]:
    """Weights of the plain network after six epochs."""
    plain = Architecture.uniform("resnet18", alpha=0, width=4, stem="small", downsample="pooled")
    settings = TrainSettings(epochs=6, batch_size=32, learning_rate=0.01, precision="fp32", device="cpu")
    training = ProxyTraining(plain, corners, settings, seed=0)
    while not training.finished:
        training.run_epoch()
    return {key: value.clone() for key, value in training.network.state_dict().items()}


def measured(score: EpochScore) -> tuple[int, float, float, float]:
    return score.epoch, score.accuracy, score.loss, score.train_loss


def test_weights_of_the_plain_network_serve_an_octave_one_from_the_start(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, learned: dict[str, Tensor]
) -> None:
    training = ProxyTraining(tiny, corners, settings, seed=0, initial=learned)
    training.recalibrate()
    assert training.validate()[0] > 0.9  # chance is 0.25
    assert training.run_epoch(full_validation=True).accuracy > 0.9
    fresh = ProxyTraining(tiny, corners, settings, seed=0)
    assert fresh.run_epoch(full_validation=True).accuracy < 0.9


def test_statistics_are_of_these_images_and_weights_alone(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, learned: dict[str, Tensor]
) -> None:
    strange = {key: value + 3 if "running" in key else value for key, value in learned.items()}
    first, second = (
        ProxyTraining(tiny, corners, settings, seed=0, initial=initial) for initial in (learned, strange)
    )
    first.recalibrate()
    second.recalibrate()
    state, other = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(state[key], other[key]) for key in state)
    assert isinstance(corners.train, MemorySplit)
    # 200 images are a batch of 128 and one that is not full, which is left out.
    chosen = next(iter(corners.train.batches(128)))[0]
    maps = functional.conv2d(normalise(chosen, corners.mean, corners.std), learned["conv1.weight"], padding=1)
    torch.testing.assert_close(state["bn1.running_mean"], maps.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(state["bn1.running_var"], maps.var((0, 2, 3)), rtol=1e-4, atol=1e-4)
    for name in ("conv1.weight", "layer3.0.conv1.weight", "fc.bias"):
        assert torch.equal(state[name], learned[name])


@pytest.mark.parametrize("step", [0, 6])
def test_it_goes_on_from_a_checkpoint_bit_for_bit(
    corners: ImageSet,
    tiny: Architecture,
    settings: TrainSettings,
    learned: dict[str, Tensor],
    tmp_path: Path,
    step: int,
) -> None:
    whole = ProxyTraining(tiny, corners, settings, seed=0, initial=learned)
    expected = [measured(whole.run_epoch()), measured(whole.run_epoch(full_validation=True))]

    begun = ProxyTraining(tiny, corners, settings, seed=0, initial=learned)
    if step:
        begun.run_epoch()
    assert begun.step == step
    begun.save(tmp_path / "half.pt")
    resumed = ProxyTraining(tiny, corners, settings, seed=0, initial=learned)
    assert resumed.same_as(tmp_path / "half.pt")
    resumed.load(tmp_path / "half.pt")
    rest = [measured(resumed.run_epoch(full_validation=resumed.epoch == 1)) for _ in range(2 - resumed.epoch)]
    assert rest == expected[-len(rest) :]
    state, other = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(state[key], other[key]) for key in state)


def test_a_checkpoint_of_other_weights_is_refused_both_ways(
    corners: ImageSet,
    tiny: Architecture,
    settings: TrainSettings,
    learned: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    other = {**learned, "fc.bias": learned["fc.bias"] + 1}
    trainings = {
        name: ProxyTraining(tiny, corners, settings, seed=0, initial=initial)
        for name, initial in (("scratch", None), ("learned", learned), ("other", other))
    }
    for name, training in trainings.items():
        training.save(tmp_path / name)
    for name, training in trainings.items():
        for saved in trainings:
            assert training.same_as(tmp_path / saved) is (name == saved)
            if name != saved:
                with pytest.raises(RunError, match=f"{saved} has initial=.* where .* is asked for"):
                    training.load(tmp_path / saved)


def test_a_warm_start_has_as_many_steps_a_score_and_a_quarter_of_the_rate(settings: TrainSettings) -> None:
    by_steps = dataclasses.replace(settings, epochs=None, steps=700, evaluations=4, learning_rate=0.004)
    warm = warm_settings(by_steps, 1, 12_000)
    assert (warm.epochs, warm.steps, warm.evaluations, warm.learning_rate) == (None, 175, 1, 0.001)
    by_epochs = dataclasses.replace(settings, epochs=5, batch_size=32, train_images=500)
    warm = warm_settings(by_epochs, 2, 12_000)
    assert warm.step_bounds(500) == by_epochs.step_bounds(500)[:2] == (15, 30)
    assert warm_settings(by_epochs, 2, 64).step_bounds(64) == (2, 4)
    assert dataclasses.replace(warm, **_lengths(by_epochs), learning_rate=0.01) == by_epochs


def _lengths(settings: TrainSettings) -> dict[str, int | None]:
    return {"epochs": settings.epochs, "steps": settings.steps, "evaluations": settings.evaluations}
