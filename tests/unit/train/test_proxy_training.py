"""ProxyTraining: it learns, repeats bit for bit, and goes on from a checkpoint bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.errors import OctnasError, RunError, TrainingDivergedError
from octnas.record import EpochScore
from octnas.train import ProxyTraining, TrainSettings, load_weights, save_weights
from octnas.train.schedule import learning_rate
from octnas.train.settings import Optimizer, Precision


def state_of(training: ProxyTraining) -> list[torch.Tensor]:
    tensors = list(training.network.state_dict().values())
    moments = [
        value
        for state in training._optimizer.state_dict()["state"].values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    ]
    assert training.step == 0 or moments
    return [tensor.clone() for tensor in (*tensors, *moments)]


def equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def measured(score: EpochScore) -> tuple[int, float, float, float]:
    return score.epoch, score.accuracy, score.loss, score.train_loss


def test_it_learns(corners: ImageSet, tiny: Architecture, settings: TrainSettings) -> None:
    training = ProxyTraining(tiny, corners, dataclasses.replace(settings, epochs=6), seed=0)
    scores = [training.run_epoch(full_validation=True) for _ in range(6)]
    assert [score.epoch for score in scores] == [1, 2, 3, 4, 5, 6]
    assert scores[-1].accuracy > 0.9  # chance is 0.25
    assert scores[-1].train_loss < 0.5 * scores[0].train_loss
    assert training.finished
    with pytest.raises(RuntimeError, match="has no epoch 7"):
        training.run_epoch()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_seed_repeats_a_training_bit_for_bit(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, precision: Precision
) -> None:
    settings = dataclasses.replace(settings, precision=precision)
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)  # what ran before in the process must not matter
        training = ProxyTraining(tiny, corners, settings, seed=3)
        runs.append((measured(training.run_epoch()), measured(training.run_epoch()), state_of(training)))
    assert runs[0][:2] == runs[1][:2]
    assert equal(runs[0][2], runs[1][2])


def test_another_seed_gives_another_training(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    first, second = (ProxyTraining(tiny, corners, settings, seed=seed) for seed in (0, 1))
    assert not torch.equal(first.network.state_dict()["fc.weight"], second.network.state_dict()["fc.weight"])
    assert first.run_epoch().train_loss != second.run_epoch().train_loss


def test_the_random_state_of_the_process_is_left_alone(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    ProxyTraining(tiny, corners, settings, seed=0).run_epoch()
    assert torch.equal(before, torch.get_rng_state())


def test_architectures_of_a_backbone_start_equal_and_see_equal_batches(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    plain = Architecture.uniform("resnet18", alpha=0, width=4, stem="small", downsample="pooled")
    first, second = (ProxyTraining(each, corners, settings, seed=4) for each in (tiny, plain))
    assert equal(list(first.network.state_dict().values()), list(second.network.state_dict().values()))
    for (x, y), (x2, y2) in zip(first._batches(0, 8), second._batches(0, 8), strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)


def test_each_pass_visits_each_image_once_in_a_new_order(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    settings = dataclasses.replace(settings, epochs=2, batch_size=50)
    training = ProxyTraining(tiny, corners, settings, seed=0)
    orders = [
        np.concatenate([training._order(4 * number + step, 50) for step in range(4)]) for number in (0, 1)
    ]
    assert all(sorted(order) == list(range(200)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])


@pytest.mark.parametrize(("precision", "optimizer"), [("fp32", "adamw"), ("bf16", "adamw"), ("fp32", "sgd")])
def test_a_resumed_training_goes_on_bit_for_bit(
    corners: ImageSet,
    tiny: Architecture,
    settings: TrainSettings,
    tmp_path: Path,
    precision: Precision,
    optimizer: Optimizer,
) -> None:
    # 7 steps over passes of 6: the interruption falls inside a pass.
    settings = dataclasses.replace(
        settings, epochs=None, steps=14, evaluations=2, precision=precision, optimizer=optimizer
    )
    whole = ProxyTraining(tiny, corners, settings, seed=0)
    whole.run_epoch()
    last = whole.run_epoch(full_validation=True)

    begun = ProxyTraining(tiny, corners, settings, seed=0)
    begun.run_epoch()
    begun.save(tmp_path / "half.pt")
    resumed = ProxyTraining(tiny, corners, settings, seed=0)
    resumed.load(tmp_path / "half.pt")
    assert (resumed.epoch, resumed.step) == (1, 7)
    assert measured(resumed.run_epoch(full_validation=True)) == measured(last)
    assert equal(state_of(resumed), state_of(whole))


def test_a_checkpoint_loads_without_running_code(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, tmp_path: Path
) -> None:
    ProxyTraining(tiny, corners, settings, seed=0).save(tmp_path / "new.pt")
    assert torch.load(tmp_path / "new.pt", weights_only=True)["step"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["new.pt"]


def test_a_checkpoint_of_another_training_is_refused(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, tmp_path: Path
) -> None:
    path = tmp_path / "seed0.pt"
    ProxyTraining(tiny, corners, settings, seed=0).save(path)
    other = ProxyTraining(tiny, corners, settings, seed=1)
    assert not other.same_as(path)
    with pytest.raises(RunError, match="seed=0 where 1 is asked for"):
        other.load(path)


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint", b"PK\x03\x04"])
def test_a_damaged_checkpoint_is_refused(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "bad.pt"
    if content is not None:
        path.write_bytes(content)
    training = ProxyTraining(tiny, corners, settings, seed=0)
    assert not training.same_as(path)
    with pytest.raises(RunError, match=r"bad\.pt"):
        training.load(path)


def test_an_unwritable_checkpoint_is_an_error_of_one_line(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="must be writable"):
        ProxyTraining(tiny, corners, settings, seed=0).save(tmp_path / "file" / "a.pt")


def test_a_loss_that_is_not_finite_names_its_step(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    training = ProxyTraining(tiny, corners, settings, seed=0)
    training.run_epoch()
    with torch.no_grad():
        training.network.get_parameter("fc.bias").fill_(float("nan"))
    message = r"training loss is nan at step 7 \(learning_rate=0\.01\)"
    with pytest.raises(TrainingDivergedError, match=message) as error:
        training.run_epoch()
    assert isinstance(error.value, OctnasError)
    assert "\n" not in str(error.value)


def test_scores_are_what_a_naive_evaluation_gives(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    training = ProxyTraining(tiny, corners, settings, seed=0)
    score = training.run_epoch(full_validation=True)
    network = training.network.eval()
    right, losses = 0, []
    with torch.no_grad():
        for image, label in zip(corners.val.images, corners.val.labels, strict=True):  # type: ignore[attr-defined]
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            x = (pixels - corners.mean[0]) / corners.std[0]
            logits = network(x)
            right += int(logits.argmax()) == label
            losses.append(functional.cross_entropy(logits, torch.tensor([label])).item())
    assert score.accuracy == right / 80
    assert score.loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_rungs_are_scored_on_a_subset_with_classes_in_equal_shares(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    training = ProxyTraining(tiny, corners, settings, seed=0)
    assert np.bincount(training._val.labels).tolist() == [10, 10, 10, 10]
    again = ProxyTraining(tiny, corners, settings, seed=9)
    assert np.array_equal(training._val.images, again._val.images)  # type: ignore[attr-defined]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_only_weights_of_matrices_decay(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, optimizer: Optimizer
) -> None:
    settings = dataclasses.replace(settings, optimizer=optimizer, weight_decay=0.02)
    training = ProxyTraining(tiny, corners, settings, seed=0)
    decay = {
        id(p): group["weight_decay"] for group in training._optimizer.param_groups for p in group["params"]
    }
    for name, parameter in training.network.named_parameters():
        norm = "bn" in name or "downsample.1" in name
        assert decay[id(parameter)] == (0.02 if name.endswith("weight") and not norm else 0.0), name


Moments = tuple[torch.Tensor, torch.Tensor]


def adamw_by_hand(p: torch.Tensor, state: Moments, *, rate: float, decay: float, step: int) -> Moments:
    """Loshchilov and Hutter 2019, algorithm 2, with betas .9 and .99; changes `p`."""
    assert p.grad is not None
    first, second = 0.9 * state[0] + 0.1 * p.grad, 0.99 * state[1] + 0.01 * p.grad**2
    mean, square = first / (1 - 0.9**step), second / (1 - 0.99**step)
    p.copy_(p - rate * decay * p - rate * mean / (square.sqrt() + 1e-8))
    return first, second


def sgd_by_hand(p: torch.Tensor, state: Moments, *, rate: float, decay: float, step: int) -> Moments:
    """Nesterov's momentum of .9 with the decay in the gradient; changes `p`."""
    assert p.grad is not None
    gradient = p.grad + decay * p
    momentum = 0.9 * state[0] + gradient
    p.copy_(p - rate * (gradient + 0.9 * momentum))
    return momentum, state[1]


@pytest.mark.parametrize(("optimizer", "update"), [("adamw", adamw_by_hand), ("sgd", sgd_by_hand)])
def test_two_steps_are_the_updates_of_the_paper_at_the_scheduled_rate(
    corners: ImageSet,
    tiny: Architecture,
    settings: TrainSettings,
    optimizer: Optimizer,
    update: Callable[..., Moments],
) -> None:
    settings = dataclasses.replace(
        settings, epochs=None, steps=2, optimizer=optimizer, weight_decay=0.1, label_smoothing=0.1
    )
    training = ProxyTraining(tiny, corners, settings, seed=0)
    reference = ProxyTraining(tiny, corners, settings, seed=0)
    network = reference.network.train()
    start = {name: p.detach().clone() for name, p in network.named_parameters()}
    states = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in network.named_parameters()}
    losses = []
    for step, (x, y) in enumerate(reference._batches(0, 2)):
        network.zero_grad()
        log_p = torch.log_softmax(network(x), 1)
        loss = (-0.9 * log_p[torch.arange(32), y] - 0.1 * log_p.mean(1)).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        rate = learning_rate(step, total=2, peak=0.01, warmup=0.05)
        with torch.no_grad():
            for name, p in network.named_parameters():
                decay = 0.1 if p.ndim > 1 else 0.0
                states[name] = update(p, states[name], rate=rate, decay=decay, step=step + 1)
    assert training.run_epoch().train_loss == pytest.approx(np.mean(losses), rel=1e-5)
    for name, p in network.named_parameters():
        # Over norms: Adam divides by the gradient's size, where rounding decides if that is nearly 0.
        difference = (training.network.get_parameter(name) - p).norm()
        assert difference <= 1e-3 * (p - start[name]).norm(), name


def test_blocks_begin_as_their_shortcuts(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    network = ProxyTraining(tiny, corners, settings, seed=0).network
    starts = {
        name: parameter.unique().tolist()
        for name, parameter in network.named_parameters()
        if name.endswith("weight") and parameter.ndim == 1
    }
    assert {name for name, values in starts.items() if values == [0.0]} == {
        f"layer{stage}.{block}.bn2.weight" for stage in (1, 2, 3, 4) for block in (0, 1)
    }
    assert all(values in ([0.0], [1.0]) for values in starts.values())


def test_weights_come_back_as_they_were(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, tmp_path: Path
) -> None:
    training = ProxyTraining(tiny, corners, settings, seed=0)
    training.run_epoch()
    (tmp_path / "plain").touch()
    save_weights(training.network, tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
    fresh = ProxyTraining(tiny, corners, settings, seed=1).network
    load_weights(fresh, tmp_path / "w.safetensors")
    assert equal(list(fresh.state_dict().values()), list(training.network.state_dict().values()))
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(RunError, match="must be a safetensors file"):
        load_weights(fresh, tmp_path / "bad.safetensors")
    wider = Architecture.uniform("resnet18", alpha=0, width=8, stem="small")
    with pytest.raises(RunError, match="must fit their network"):
        load_weights(ProxyTraining(wider, corners, settings, seed=0).network, tmp_path / "w.safetensors")
