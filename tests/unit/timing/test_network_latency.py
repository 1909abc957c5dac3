"""A network beside its plain twin: the figures, the flag, the text."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from timing_case import TINY, made_up

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.errors import ArchitectureError
from octnas.export import deploy
from octnas.export.graphs import WithInput, exported_program, quiet, write_onnx
from octnas.machine import device_name
from octnas.timing import latency as module_of_latency
from octnas.timing.latency import file_latency, latency, plain_twin
from octnas.timing.measure import Runner, Times
from octnas.timing.report import latency_table, latency_text
from octnas.timing.runtimes import random_network

CONTRACT = {
    "device", "runtime", "threads", "batch", "latency_ms", "plain_latency_ms", "ratio", "flops_ratio",
}  # fmt: skip


def test_figures_are_of_the_medians_and_the_spread_of_the_rounds() -> None:
    measured = made_up([3, 3, 3, 30, 3], [4, 6, 5, 5, 60])
    assert (measured.latency_ms, measured.plain_latency_ms, measured.ratio) == (3, 5, 0.6)
    assert measured.ratio_quartiles == pytest.approx((0.5, 0.75))  # of .75, .5, .6, 6 and .05
    assert measured.flops_ratio == pytest.approx(0.75)
    assert (measured.rounds, measured.slower) == (5, False)
    document = measured.to_dict()
    assert document.keys() >= CONTRACT
    assert json.loads(json.dumps(document)) == document
    assert document["slower"] is False
    assert document["digest"] == TINY.digest
    assert document["plain_latency_quartiles_ms"] == [5, 6]


@pytest.mark.parametrize(
    ("octave", "slower"),
    [
        ([11, 11, 12, 12], True),
        ([9, 11, 12, 11], True),  # three rounds of four
        ([9, 9, 12, 30], False),  # the median is above, the spread reaches below
        ([10, 10, 10, 10], False),
        ([6, 6, 6, 6], False),
    ],
)
def test_slower_means_beyond_the_spread(octave: list[float], slower: bool) -> None:
    plain = [10.0] * 4
    assert made_up(octave, plain).slower is slower
    assert made_up(octave, plain).to_dict()["slower"] is slower
    # a plain network is not slower than itself, whatever the clock says
    assert made_up(octave, plain, plain_twin(TINY)).slower is False


def test_the_twin_keeps_all_but_the_low_channels() -> None:
    twin = plain_twin(TINY)
    assert set(twin.low_channels) == {0}
    assert dataclasses.replace(twin, low_channels=TINY.low_channels) == TINY
    assert twin.downsample == "pooled"


@pytest.mark.parametrize("runtime", ["onnxruntime", "eager"])
def test_a_tiny_network_is_timed(runtime: Any) -> None:
    said: list[str] = []
    threads = torch.get_num_threads()
    measured = latency(
        TINY, runtime=runtime, input_shape=(1, 32, 32), num_classes=10, rounds=3, note=said.append
    )
    assert torch.get_num_threads() == threads
    assert (measured.octave.n, measured.plain.n) == (3, 3)
    assert min(*measured.octave.samples, *measured.plain.samples) > 0
    assert measured.device == device_name("cpu")
    assert measured.gflops == cost(TINY, input_shape=(1, 32, 32), num_classes=10).gflops
    assert measured.flops_ratio < 1
    assert set(measured.versions) == {"octnas", "torch" if runtime == "eager" else "onnxruntime"}
    assert [line.split()[-1] for line in said] == [runtime, runtime, "measuring"]


@pytest.mark.parametrize("backbone", ["resnet10", "i3d_resnet10"])
def test_a_network_is_timed_on_clips(backbone: str) -> None:
    arch = Architecture.uniform(backbone, alpha="1/2", width=8, stem="small")
    shape = (1, 4, 16, 18)
    measured = latency(arch, runtime="eager", input_shape=shape, num_classes=10, rounds=2)
    assert measured.gflops == cost(arch, input_shape=shape, num_classes=10).gflops
    assert measured.to_dict()["input"] == "1x4x16x18"
    assert "10^9 multiply-adds per clip" in text_of(latency_table(measured.to_dict()))


def test_an_image_for_a_3d_backbone_is_refused_before_anything_is_made() -> None:
    arch = Architecture.uniform("i3d_resnet10", alpha=0, width=8, stem="small")
    said: list[str] = []
    with pytest.raises(ArchitectureError, match="3D backbone i3d_resnet10"):
        latency(arch, input_shape=(3, 32, 32), note=said.append)
    assert said == []


@pytest.mark.slow
def test_a_tiny_network_is_timed_through_the_compiler() -> None:
    measured = latency(TINY, runtime="compile", input_shape=(1, 32, 32), num_classes=10, rounds=2)
    assert measured.rounds == 2
    assert measured.to_dict()["runtime"] == "compile"


def test_the_usual_input_and_what_each_runner_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, dict[str, Any]]] = []

    def made(net: Any, **setting: Any) -> Runner:
        asked.append((net, setting))
        return lambda: None

    def measured(runners: dict[str, Runner], **_: Any) -> dict[str, Times]:
        assert list(runners) == ["plain", "octave"]
        return {"plain": Times(samples=(2.0,)), "octave": Times(samples=(1.0,))}

    monkeypatch.setattr(module_of_latency, "make_runner", made)
    monkeypatch.setattr(module_of_latency, "interleaved", measured)
    result = latency(TINY, batch=4)
    assert [net for net, _ in asked] == [plain_twin(TINY), TINY]
    assert [setting["input_shape"] for _, setting in asked] == [(3, 32, 32)] * 2
    assert [setting["batch"] for _, setting in asked] == [4, 4]
    assert (result.ratio, result.batch, result.num_classes) == (0.5, 4, 1000)


def test_a_file_is_timed_beside_a_file_of_the_same_convention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    network = random_network(TINY, num_classes=3, in_channels=1)
    module = WithInput(deploy(network), [0.5], [0.25]).eval()
    path = tmp_path / "model.onnx"
    with quiet():
        write_onnx(exported_program(module, (1, 32, 32)), path)
    inputs: list[tuple[str, str, int]] = []

    def watched(file: Path, **setting: Any) -> Runner:
        model = onnx.load(str(file))
        nodes = [node.op_type for node in model.graph.node]
        inputs.append((file.name, nodes[0], nodes.count("AveragePool")))
        assert (setting["input_shape"], setting["threads"], setting["batch"]) == ((1, 32, 32), 1, 1)
        return lambda: None

    monkeypatch.setattr(module_of_latency, "file_runner", watched)
    measured = file_latency(path, TINY, input_shape=(1, 32, 32), num_classes=3, rounds=2)
    (plain, plain_first, plain_pools), (octave, octave_first, octave_pools) = inputs
    assert (plain, octave) == ("plain.onnx", "model.onnx")
    assert plain_first == octave_first == "Sub"  # both normalise
    assert 0 < plain_pools < octave_pools  # the twin of a pooled network pools
    assert measured.rounds == 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_clips_file_has_a_twin_that_takes_and_normalises_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arch = Architecture.uniform("resnet10", alpha="1/2", width=8, stem="small")
    made: list[tuple[WithInput, tuple[int, ...]]] = []

    def kept(module: WithInput, shape: tuple[int, ...]) -> WithInput:
        made.append((module, shape))
        return module

    monkeypatch.setattr(module_of_latency, "exported_program", kept)
    monkeypatch.setattr(module_of_latency, "write_onnx", lambda *_: None)
    monkeypatch.setattr(module_of_latency, "file_runner", lambda *_, **__: lambda: None)
    file_latency(tmp_path / "model.onnx", arch, input_shape=(2, 3, 16, 18), num_classes=5, rounds=1)
    ((twin, shape),) = made
    assert shape == (2, 3, 16, 18)
    clips = torch.rand(2, *shape)
    with torch.inference_mode():
        torch.testing.assert_close(twin(clips), twin.network((clips - 0.5) / 0.25), rtol=1e-5, atol=1e-5)
        assert twin(clips).shape == (2, 5)


def text_of(renderable: Any) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_the_table_shows_both_networks_and_the_flag() -> None:
    fast = text_of(latency_table(made_up([6.0] * 4, [10.0] * 4).to_dict()))
    for words in ("6 ms", "10 ms", "0.600", "0.750", "a processor, 2 cores", "onnxruntime 1.0"):
        assert words in fast
    assert "GFLOPs: 10^9 multiply-adds" in fast
    assert "slower" not in fast
    assert "scatter" not in fast
    slow = text_of(latency_table(made_up([11.0] * 4, [10.0] * 4).to_dict()))
    assert "fewer FLOPs, slower: 0.750 of the plain network's FLOPs take 1.100 of its time" in slow
    assert "the times scatter" in text_of(latency_table(made_up([6, 6, 8, 8], [10.0] * 4).to_dict()))


def test_one_line_for_an_export() -> None:
    line = latency_text(made_up([6.0] * 4, [10.0] * 4).to_dict(), "this network")
    assert line.startswith("this network: 6 ms, 0.600 of its plain network's 10 ms, at 0.750 of its FLOPs")
    assert "\n" not in line
    flagged = latency_text(made_up([11.0] * 4, [10.0] * 4).to_dict(), "this network")
    assert flagged.splitlines()[1].startswith("fewer FLOPs, slower: ")


def test_ratios_of_rounds_are_paired() -> None:
    octave, plain = np.array([2.0, 4.0, 8.0]), np.array([4.0, 8.0, 16.0])
    assert made_up(list(octave), list(plain)).ratio_quartiles == (0.5, 0.5)
