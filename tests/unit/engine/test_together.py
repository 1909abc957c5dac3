"""How many workers fit, what each has, and what is refused before anything starts."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from corners import corners_set

import octnas.engine.together as module
from octnas.data import StreamedSplit
from octnas.engine.together import cores_each, local_workers
from octnas.engine.winner import _check_shares, _settings
from octnas.errors import RunError
from octnas.train import TrainSettings


def machine(monkeypatch: pytest.MonkeyPatch, cores: int, gpus: int) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


@pytest.mark.parametrize(
    ("cores", "gpus", "count", "cpus", "share"),
    [(8, 0, 2, 4, 0), (8, 0, 8, 1, 0), (32, 4, 4, 8, 1), (2, 4, 4, 1, 1)],
)
def test_a_machine_is_shared_out(
    monkeypatch: pytest.MonkeyPatch, cores: int, gpus: int, count: int, cpus: int, share: int
) -> None:
    machine(monkeypatch, cores, gpus)
    workers = local_workers(count)
    assert (workers.count, workers.cpus, workers.gpus) == (count, cpus, share)
    assert workers.cores == max(cores, count)  # what Ray is started with


@pytest.mark.parametrize(
    ("gpus", "message"), [(0, "a core .* 9 are asked for and 8 cores"), (2, "a GPU .* 2 GPUs")]
)
def test_more_workers_than_fit_are_refused(monkeypatch: pytest.MonkeyPatch, gpus: int, message: str) -> None:
    machine(monkeypatch, 8, gpus)
    with pytest.raises(RunError, match=message) as error:
        local_workers(9)
    assert f"--workers {gpus or 8}" in str(error.value)


def nodes(*sizes: tuple[int, float]) -> list[SimpleNamespace]:
    return [SimpleNamespace(cpus=cpus, gpus=gpus) for cpus, gpus in sizes]


@pytest.mark.parametrize(
    ("sizes", "count", "cores"),
    [
        ([(64, 8), (16, 4), (96, 0)], 12, 4),  # the GPU with the fewest cores decides
        ([(4, 8)], 8, 1),
        ([(8, 0), (8, 0)], 2, 8),
        ([(8, 0), (8, 0)], 3, 4),
        ([(8, 0)], 20, 1),  # more are waited for
        ([], 4, 1),
    ],
)
def test_cores_of_a_worker_in_a_cluster(sizes: list[tuple[int, float]], count: int, cores: int) -> None:
    assert cores_each(nodes(*sizes), count) == cores  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("workers", "epochs", "message"),
    [
        (17, None, "each of 17 workers must have two images .* a batch has 32: --workers 16"),
        (2, 0, "--epochs 0 trains nothing"),
        (0, None, "workers >= 1"),
    ],
)
def test_what_cannot_be_shared_is_refused(workers: int, epochs: int | None, message: str) -> None:
    with pytest.raises(RunError, match=message):
        _check_shares(workers, TrainSettings(epochs=1, batch_size=32), corners_set(), epochs)


def test_the_recipe_of_imagenet_is_for_target_networks_on_large_folders() -> None:
    proxy, small = TrainSettings(epochs=2), corners_set()
    paths = torch.zeros(100_000, dtype=torch.uint8).numpy().astype("S1")
    labels = torch.zeros(100_000, dtype=torch.int64).numpy()
    split = StreamedSplit(root="/nowhere", paths=paths, labels=labels, size=224, channels=3)
    large = dataclasses.replace(small, train=split)
    assert _settings(proxy, "target", "resnet50", large, None).batch_size == 1024
    assert _settings(proxy, "target", "resnet50", large, 7).epochs == 7
    assert _settings(proxy, "full", "resnet50", large, None).batch_size == proxy.batch_size
    assert _settings(proxy, "target", "resnet50", small, None).batch_size == proxy.batch_size
    fewer = dataclasses.replace(small, train=split.take(torch.arange(99_999).numpy()))
    assert _settings(proxy, "target", "resnet50", fewer, None).optimizer == "adamw"
