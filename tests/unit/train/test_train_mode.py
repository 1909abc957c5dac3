"""Where and in which number format a training runs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.errors import UnknownNameError
from octnas.train import ProxyTraining, TrainSettings, mode_of
from octnas.train.speed import choose_device, choose_precision


def test_the_cpu_multiplies_bfloat16_only_where_its_hardware_does(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for capabilities, expected in (
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx2": True, "avx512_bf16": False}, "fp32"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found, raising=False)
        assert choose_precision("auto", cpu) == expected
        assert choose_precision("fp32", cpu) == "fp32"
        assert choose_precision("bf16", cpu) == "bf16"


def test_a_gpu_is_used_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


def test_a_device_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UnknownNameError, match="usable here are auto, cpu"):
        choose_device("tpu")


def test_the_mode_sets_the_threads_of_the_process() -> None:
    before = torch.get_num_threads()
    try:
        mode_of(TrainSettings(epochs=1, threads=2, device="cpu"))
        assert torch.get_num_threads() == 2
        mode_of(TrainSettings(epochs=1, threads=None, device="cpu"))
        assert torch.get_num_threads() == 2
        mode_of(TrainSettings(epochs=1, device="cpu"))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("channels_last", [True, False])
def test_layouts_give_the_same_training(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, channels_last: bool
) -> None:
    settings = dataclasses.replace(settings, epochs=None, steps=2, channels_last=channels_last)
    training = ProxyTraining(tiny, corners, settings, seed=0)
    weight = training.network.get_parameter("layer1.0.conv1.weight")
    assert weight.is_contiguous(memory_format=training.mode.memory_format(2))
    other = ProxyTraining(tiny, corners, dataclasses.replace(settings, channels_last=True), seed=0)
    assert training.run_epoch().train_loss == pytest.approx(other.run_epoch().train_loss, rel=1e-3)


def test_bfloat16_keeps_weights_in_float32_and_trains_alike(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings
) -> None:
    settings = dataclasses.replace(settings, epochs=6)
    scores = {}
    for precision in ("fp32", "bf16"):
        training = ProxyTraining(tiny, corners, dataclasses.replace(settings, precision=precision), seed=0)
        while not training.finished:
            scores[precision] = training.run_epoch(full_validation=True)
        assert {p.dtype for p in training.network.parameters()} == {torch.float32}
    assert scores["bf16"].train_loss != scores["fp32"].train_loss
    assert scores["bf16"].train_loss == pytest.approx(scores["fp32"].train_loss, abs=0.1)
    assert scores["bf16"].accuracy > 0.9


def test_settings_are_read_without_a_tensor_library() -> None:
    code = "import sys; from octnas.train import settings_from_proxy; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
