"""The supernet: its gradient is the sandwich's, it serves all architectures, and goes on bit for bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.errors import ArchitectureError, RunError
from octnas.nn import build
from octnas.train import ProxyTraining, TrainSettings, evaluate_network
from octnas.train.recalibrate import calibration_batches, recalibrate
from octnas.train.scoring import SharedScorer
from octnas.train.supernet import Sandwich, SupernetTraining, supernet_settings


def uniform(alpha: float) -> Architecture:
    return Architecture.uniform(
        "resnet18", alpha=alpha, width=4, stem="small", input_size=32, downsample="pooled"
    )


PLAIN, CHEAPEST, OTHERS = uniform(0), uniform(0.75), (uniform(0.25), uniform(0.5))
IN_TURN = Sandwich(plain=PLAIN, cheapest=CHEAPEST, pool=OTHERS)
SANDWICH = dataclasses.replace(IN_TURN, together=True)


def test_a_steps_gradient_is_the_mean_of_its_architectures_gradients(
    corners: ImageSet, settings: TrainSettings
) -> None:
    training = SupernetTraining(SANDWICH, corners, settings, seed=3)
    inputs, labels = next(training._batches(0, 1))
    architectures = SANDWICH.trained(3, 0)
    assert architectures[:2] == (PLAIN, CHEAPEST)
    assert len(architectures) == 3
    state = {name: value.clone() for name, value in training.network.state_dict().items()}
    losses, gradients = [], []
    for architecture in architectures:
        network = build(architecture, num_classes=4, in_channels=1)
        network.load_state_dict(state)
        loss = functional.cross_entropy(network.train()(inputs), labels)
        loss.backward()
        losses.append(loss.detach())
        gradients.append({name: value.grad for name, value in network.named_parameters()})
    training.network.train()
    mean = training._backward(inputs, labels)
    torch.testing.assert_close(mean, torch.stack(losses).mean())
    for name, parameter in training.network.named_parameters():
        expected = torch.stack([each[name] for each in gradients]).mean(0)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-5)


def test_distilling_draws_the_others_to_the_plain_networks_output(
    corners: ImageSet, settings: TrainSettings
) -> None:
    sandwich = dataclasses.replace(SANDWICH, distill=0.25)
    training = SupernetTraining(sandwich, corners, settings, seed=3)
    inputs, labels = next(training._batches(0, 1))
    training.network.train()
    logits = [training._form(each)(inputs) for each in sandwich.trained(3, 0)]
    teacher = logits[0].softmax(1)
    hard = [functional.cross_entropy(each, labels) for each in logits]
    soft = [-(teacher * each.log_softmax(1)).sum(1).mean() for each in logits]
    expected = (hard[0] + sum(0.75 * h + 0.25 * s for h, s in zip(hard[1:], soft[1:], strict=True))) / 3
    torch.testing.assert_close(training._backward(inputs, labels), expected.detach())


def test_it_holds_no_parameter_more_than_the_plain_network(
    corners: ImageSet, settings: TrainSettings
) -> None:
    training = SupernetTraining(SANDWICH, corners, settings, seed=0)
    plain = ProxyTraining(PLAIN, corners, settings, seed=0)
    own = {name: tuple(value.shape) for name, value in training.network.named_parameters()}
    assert own == {name: tuple(value.shape) for name, value in plain.network.named_parameters()}
    assert sum(len(group["params"]) for group in training._optimizer.param_groups) == len(own)


@pytest.mark.parametrize(("rule", "epochs"), [(SANDWICH, 8), (IN_TURN, 16)])
def test_all_architectures_learn_and_unseen_ones_too(
    corners: ImageSet, settings: TrainSettings, rule: Sandwich, epochs: int
) -> None:
    training = SupernetTraining(rule, corners, dataclasses.replace(settings, epochs=epochs), seed=0)
    while not training.finished:
        score = training.run_epoch(full_validation=True)
    assert score.accuracy > 0.9  # chance is .25
    scorer = SharedScorer(PLAIN, training.network.state_dict(), corners, training.settings)
    assert scorer.score(PLAIN) == pytest.approx((score.accuracy, score.loss))
    for architecture in (CHEAPEST, *OTHERS, uniform(1)):
        assert scorer.score(architecture)[0] > 0.9


@pytest.mark.parametrize("rule", [SANDWICH, IN_TURN])
def test_it_goes_on_from_a_checkpoint_bit_for_bit(
    corners: ImageSet, settings: TrainSettings, tmp_path: Path, rule: Sandwich
) -> None:
    whole, first, second = (SupernetTraining(rule, corners, settings, seed=1) for _ in range(3))
    for _ in range(2):
        whole.run_epoch()
    first.run_epoch()
    first.save(tmp_path / "supernet.pt")
    second.load(tmp_path / "supernet.pt")
    second.run_epoch()
    assert second.finished
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    assert [(s.accuracy, s.loss, s.train_loss) for s in whole.scores] == [
        (s.accuracy, s.loss, s.train_loss) for s in second.scores
    ]


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(SANDWICH, pool=OTHERS[:1]),
        dataclasses.replace(SANDWICH, randoms=2),
        dataclasses.replace(SANDWICH, distill=0.5),
        IN_TURN,
    ],
)
def test_the_checkpoint_of_another_sandwich_is_refused(
    corners: ImageSet, settings: TrainSettings, tmp_path: Path, other: Sandwich
) -> None:
    training = SupernetTraining(SANDWICH, corners, settings, seed=1)
    training.save(tmp_path / "supernet.pt")
    again = SupernetTraining(other, corners, settings, seed=1)
    assert not again.same_as(tmp_path / "supernet.pt")
    with pytest.raises(RunError, match="must be of the same training"):
        again.load(tmp_path / "supernet.pt")


def test_a_score_is_that_of_a_network_of_its_own_with_recalibrated_statistics(
    corners: ImageSet, settings: TrainSettings
) -> None:
    training = SupernetTraining(SANDWICH, corners, settings, seed=0)
    training.run_epoch()
    state = training.network.state_dict()
    scorer = SharedScorer(PLAIN, state, corners, settings, images=None)
    for architecture in OTHERS:
        network = build(architecture, num_classes=4, in_channels=1)
        network.load_state_dict(state)
        batches = calibration_batches(corners.train, corners, training.mode)
        recalibrate(network, batches, mode=training.mode)
        expected = evaluate_network(
            network, corners.val, mean=corners.mean, std=corners.std, mode=training.mode
        )
        assert scorer.score(architecture) == pytest.approx(expected)


def test_scores_do_not_depend_on_what_was_scored_before(corners: ImageSet, settings: TrainSettings) -> None:
    state = SupernetTraining(SANDWICH, corners, settings, seed=0).network.state_dict()
    scorer = SharedScorer(PLAIN, state, corners, settings)
    first = scorer.score(OTHERS[0])
    scorer.score(CHEAPEST)
    assert scorer.score(OTHERS[0]) == first


def test_architectures_of_another_backbone_are_refused(corners: ImageSet, settings: TrainSettings) -> None:
    state = SupernetTraining(SANDWICH, corners, settings, seed=0).network.state_dict()
    other = Architecture.uniform("resnet34", alpha=0, width=4, stem="small", input_size=32)
    with pytest.raises(ArchitectureError, match="the same backbone"):
        SharedScorer(PLAIN, state, corners, settings).score(other)


def test_the_length_is_counted_in_trainings_of_a_proxy() -> None:
    steps = supernet_settings(TrainSettings(steps=700, evaluations=4), length=1.5)
    assert (steps.steps, steps.evaluations) == (1050, 6)
    assert supernet_settings(TrainSettings(epochs=4), length=1.5).epochs == 6
    assert supernet_settings(TrainSettings(epochs=1), length=0.1).epochs == 1


def test_draws_follow_from_seed_and_step_alone() -> None:
    sandwich = dataclasses.replace(SANDWICH, randoms=50)
    assert sandwich.trained(1, 2) == sandwich.trained(1, 2)
    assert sandwich.trained(1, 2) != sandwich.trained(1, 3)
    assert set(sandwich.trained(1, 2)[2:]) == set(OTHERS)


def test_in_turn_every_step_trains_one_architecture() -> None:
    rule = dataclasses.replace(IN_TURN, randoms=2)
    steps = [rule.trained(0, step) for step in range(600)]
    assert all(len(each) == 1 for each in steps)
    for place, end in ((0, PLAIN), (3, CHEAPEST)):
        assert all(each == (end,) for each in steps[place::6])
    others = [each[0] for step, each in enumerate(steps) if step % 3]
    assert len(others) == 400
    assert others.count(OTHERS[0]) == pytest.approx(200, abs=40)
    assert set(others) == set(OTHERS)
