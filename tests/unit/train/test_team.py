"""Workers that train together: shares of a batch, and the numbers of one worker."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from corners import corners_set, tiny_architecture
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from octnas.data import augment
from octnas.train import ProxyTraining, TrainSettings, evaluate_network
from octnas.train.team import Team

CPU = torch.device("cpu")
SIZES = (1, 2, 3, 5, 8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [8, 13, 64])
def test_shares_are_the_batch_in_order(size: int, count: int) -> None:
    team = [Team(rank=rank, size=size, device=CPU) for rank in range(size)]
    rows = np.arange(count)
    shares = [rows[each.share(count)] for each in team]
    assert np.concatenate(shares).tolist() == rows.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    # The mean over workers of weighted share means is the mean of the batch.
    values = np.random.default_rng(0).normal(size=count)
    means = [each.weight(count) * values[each.share(count)].mean() for each in team]
    assert np.mean(means) == pytest.approx(values.mean())


@pytest.mark.parametrize("dims", [2, 3])
def test_a_share_is_augmented_as_in_its_batch(dims: int) -> None:
    shape = (12, 1, *((3,) if dims == 3 else ()), 16, 16)
    format_ = torch.channels_last if dims == 2 else torch.channels_last_3d
    batch = torch.randint(0, 256, shape, dtype=torch.uint8).contiguous(memory_format=format_)
    whole = augment(batch, torch.Generator().manual_seed(3), flip=True)
    for rank in range(3):
        mine = Team(rank=rank, size=3, device=CPU).share(12)
        part = augment(batch[mine], torch.Generator().manual_seed(3), flip=True, share=(12, mine.start))
        assert torch.equal(part, whole[mine])


@pytest.mark.parametrize("size", [2, 3])
def test_the_shares_of_all_steps_are_the_batches_of_one_worker(size: int) -> None:
    settings = TrainSettings(epochs=1, batch_size=32, precision="fp32", device="cpu")
    alone = ProxyTraining(tiny_architecture(), corners_set(), settings, seed=1)
    wanted = list(alone._batches(0, 6))
    shares = []
    for rank in range(size):
        alone.team = Team(rank=rank, size=size, device=CPU)
        shares.append(list(alone._batches(0, 6)))
    for step, (inputs, labels) in enumerate(wanted):
        assert torch.equal(torch.cat([share[step][0] for share in shares]), inputs)
        assert torch.equal(torch.cat([share[step][1] for share in shares]), labels)


def _without_statistics(network: nn.Module) -> None:
    """Batch-norm by its running statistics in training too: the one layer in which images of a batch meet."""
    for norm in network.modules():
        if isinstance(norm, _BatchNorm):
            norm.eval()
            norm.train = lambda mode=True, self=norm: self  # type: ignore[method-assign]
            nn.init.constant_(norm.weight, 0.5)


def _settings(batch_size: int) -> TrainSettings:
    return TrainSettings(
        epochs=2, batch_size=batch_size, learning_rate=0.01, optimizer="sgd", precision="fp32", device="cpu"
    )


def _trained(training: ProxyTraining) -> dict[str, list[float]]:
    _without_statistics(training.network)
    scores = [training.run_epoch() for _ in range(2)]
    return {
        "train": [score.train_loss for score in scores],
        "val": [score.loss for score in scores],
        "accuracy": [score.accuracy for score in scores],
        "weights": torch.cat([p.detach().flatten() for p in training.network.parameters()]).tolist(),
    }


def _join(rank: int, size: int, folder: str) -> Team:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    return Team(rank=rank, size=size, device=CPU)


def _worker(rank: int, size: int, folder: str, batch_size: int) -> None:
    team = _join(rank, size, folder)
    data = corners_set()
    together = ProxyTraining(tiny_architecture(), data, _settings(batch_size), seed=2, team=team)
    found = _trained(together)
    # With batch-norm, averages of weights and mixup: all workers end equal, and say the same.
    mixed = dataclasses.replace(_settings(batch_size), mixup=0.4, ema=0.9, epochs=1)
    training = ProxyTraining(tiny_architecture(), data, mixed, seed=2, team=team)
    score = training.run_epoch()
    state = torch.cat([v.flatten().double() for v in training.network.state_dict().values()])
    average = torch.cat([v.flatten().double() for v in training.result.state_dict().values()])
    whole = evaluate_network(
        training.result, data.val, mean=data.mean, std=data.std, mode=training.mode, batch_size=7
    )
    torch.save(
        {**found, "state": state, "average": average, "score": (score.accuracy, score.loss), "whole": whole},
        f"{folder}/{rank}.pt",
    )
    dist.destroy_process_group()


class _WithSpare(nn.Module):
    """Has a head that `forward` does not use, as networks with auxiliary ones do."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.used(inputs)


def _steps_with_a_spare_head(rank: int, size: int, folder: str) -> None:
    team = _join(rank, size, folder)
    torch.manual_seed(0)
    network = _WithSpare()
    forward = team.joined(network, network, may_skip=True)
    for step in range(3):
        forward(torch.full((2, 3), float(rank + step))).sum().backward()
    torch.save({"used": network.used.weight.grad, "spare": network.spare.weight.grad}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_parameters_that_are_not_used_hold_nobody_up(tmp_path: Path) -> None:
    mp.spawn(_steps_with_a_spare_head, args=(2, str(tmp_path)), nprocs=2)
    told = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    # Mean over the workers of the sum over 2 images, steps 0 to 2: 2 * (0.5 + 1.5 + 2.5).
    assert torch.equal(told[0]["used"], torch.full((2, 3), 9.0))
    assert torch.equal(told[0]["used"], told[1]["used"])
    assert not any(each["spare"] is not None and each["spare"].any() for each in told)


@pytest.mark.parametrize(("size", "batch_size"), [(2, 33)])  # shares of 16 and 17
def test_workers_compute_what_one_does(tmp_path: Path, size: int, batch_size: int) -> None:
    mp.spawn(_worker, args=(size, str(tmp_path), batch_size), nprocs=size)
    told = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(size)]
    alone = _trained(ProxyTraining(tiny_architecture(), corners_set(), _settings(batch_size), seed=2))
    start = ProxyTraining(tiny_architecture(), corners_set(), _settings(batch_size), seed=2)
    for each in told:
        assert each["train"] == pytest.approx(alone["train"], rel=1e-5)
        assert each["val"] == pytest.approx(alone["val"], rel=1e-4)
        assert each["accuracy"] == alone["accuracy"]
        weights, wanted = np.array(each["weights"]), np.array(alone["weights"])
        begun = torch.cat([p.detach().flatten() for p in start.network.parameters()]).numpy()
        assert np.abs(weights - wanted).max() < 1e-3 * np.abs(wanted - begun).max()
        # The last five: state, average and scores of the training with batch-norm.
        assert torch.equal(each["state"], told[0]["state"])
        assert torch.equal(each["average"], told[0]["average"])
        assert each["score"] == pytest.approx(each["whole"], rel=1e-5)
