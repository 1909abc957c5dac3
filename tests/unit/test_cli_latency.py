"""`octnas latency`: what it prints, and how it refuses what it cannot do."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli_case import Octnas, caller, with_commands_of

from octnas import cli_latency
from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.timing import latency as module_of_latency
from octnas.timing.measure import Runner, Times


@pytest.fixture
def octnas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Octnas:
    """Runs `octnas ...` with the commands of `cli_latency`, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    with_commands_of(cli_latency.register, monkeypatch)
    return caller(monkeypatch, capsys)


@dataclass
class Clock:
    """In place of runners and of measuring: what was asked for, and medians that are made up."""

    octave: float = 6.0
    plain: float = 10.0

    def __post_init__(self) -> None:
        self.made: list[tuple[Architecture, dict[str, Any]]] = []

    def make_runner(self, net: Architecture, **setting: Any) -> Runner:
        self.made.append((net, setting))
        return lambda: None

    def interleaved(self, _: object, **__: object) -> dict[str, Times]:
        return {"octave": Times(samples=(self.octave,) * 4), "plain": Times(samples=(self.plain,) * 4)}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stand_in = Clock()
    monkeypatch.setattr(module_of_latency, "make_runner", stand_in.make_runner)
    monkeypatch.setattr(module_of_latency, "interleaved", stand_in.interleaved)
    return stand_in


def test_json_has_the_contracts_keys(octnas: Octnas, clock: Clock) -> None:
    done = octnas("latency", "resnet50", "--alpha", "0.5", "--json")
    assert (done.code, done.out.count("\n")) == (0, 1)
    report = json.loads(done.out)
    want = {"runtime": "onnxruntime", "threads": 1, "batch": 1, "latency_ms": 6, "plain_latency_ms": 10}
    assert want.items() <= report.items()
    assert report["ratio"] == 0.6
    plain, octave = (
        cost(Architecture.uniform("resnet50", alpha=alpha), (3, 224, 224)).macs for alpha in (0, 0.5)
    )
    assert report["flops_ratio"] == pytest.approx(octave / plain)
    assert report["device"]
    assert report["digest"] == Architecture.uniform("resnet50", alpha=0.5).digest
    assert {line.split(":")[0] for line in done.err.splitlines()} == {"octnas"}


def test_the_setting_reaches_the_runner(octnas: Octnas, clock: Clock, tmp_path: Path) -> None:
    arch = Architecture.uniform("resnet18", alpha="1/4", stem="small", width=16, downsample="pooled")
    (tmp_path / "arch.json").write_text(arch.to_json(), encoding="utf-8")
    options = ("--runtime", "eager", "--batch", "3", "--input", "1x48x40", "--classes", "7", "--json")
    report = json.loads(octnas("latency", "arch.json", *options).out)
    assert (report["input"], report["classes"], report["batch"]) == ("1x48x40", 7, 3)
    (twin, _), (network, setting) = clock.made
    assert network == arch
    assert (set(twin.low_channels), twin.downsample, twin.width) == ({0}, "pooled", 16)
    assert (setting["runtime"], setting["input_shape"], setting["num_classes"]) == ("eager", (1, 48, 40), 7)
    octnas("latency", "arch.json")
    assert clock.made[-1][1]["input_shape"] == (3, 32, 32)


def test_people_see_both_networks_the_ratios_and_the_flag(octnas: Octnas, clock: Clock) -> None:
    text = octnas("latency", "resnet50", "--alpha", "0.5").out
    for words in ("6 ms", "10 ms", "0.600", "0.579", "plain network", "onnxruntime", "1 thread, batch 1"):
        assert words in text
    assert "GFLOPs: 10^9 multiply-adds" in text
    assert "slower" not in text
    clock.octave = 12.5
    flagged = " ".join(octnas("latency", "resnet50", "--alpha", "0.5").out.split())
    assert "fewer FLOPs, slower: 0.579 of the plain network's FLOPs take 1.250 of its time" in flagged
    assert json.loads(octnas("latency", "resnet50", "--alpha", "0.5", "--json").out)["slower"] is True


REFUSED = {
    "unknown runtime": (["--runtime", "onnx"], "unknown runtime 'onnx': "),
    "misspelt runtime": (["--runtime", "compiled"], "did you mean 'compile'"),
    "unknown device": (["--device", "gpu"], "unknown device 'gpu'"),
    "no threads": (["--threads", "0"], "`threads` must be 1 to "),
    "too many threads": (["--threads", "4096"], "`threads` must be 1 to "),
    "no batch": (["--batch", "0"], "`batch` must be 1 image or more, but got 0"),
    "batch in words": (["--batch", "many"], "'many'"),
    "input that is no shape": (["--input", "224"], "3x224x224"),
    "alpha above 1": (["--alpha", "2"], "alpha=2"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_bad_input_is_refused_in_one_line(octnas: Octnas, clock: Clock, fault: str) -> None:
    options, message = REFUSED[fault]
    done = octnas("latency", "resnet18", *options)
    assert (done.code, done.out, clock.made) == (2, "", [])
    assert done.err.startswith("octnas: ")
    assert done.err.count("\n") == 1
    assert message in done.err


def test_a_machine_without_a_gpu_says_so(
    octnas: Octnas, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = octnas("latency", "resnet18", "--device", "cuda")
    assert (done.code, clock.made) == (2, [])
    assert "needs an NVIDIA GPU" in done.err


def test_a_real_run_of_a_tiny_network(octnas: Octnas, monkeypatch: pytest.MonkeyPatch) -> None:
    from octnas.timing import measure

    monkeypatch.setattr(measure, "MAX_ROUNDS", 16)
    arch = Architecture.uniform("resnet18", alpha="1/2", stem="small", width=8)
    Path("tiny.json").write_text(arch.to_json(), encoding="utf-8")
    report = json.loads(octnas("latency", "tiny.json", "--classes", "10", "--json").out)
    assert report["latency_ms"] > 0
    assert report["ratio"] == report["latency_ms"] / report["plain_latency_ms"]
    assert report["rounds"] == 16


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, typer\n"
        "from octnas import cli_latency\n"
        "app = typer.Typer()\n"
        "app.callback()(lambda: None)\n"
        "cli_latency.register(app)\n"
        "app(['latency', '--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'onnxruntime', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Example: octnas latency resnet50 --alpha 0.5" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
