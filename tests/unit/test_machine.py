"""The cores that a search may use, the device's name, and what runs on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from octnas import machine
from octnas.errors import TimingError, UnknownNameError


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_a_containers_quota_bounds_the_cores(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, files)
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert machine.usable_cores() == cores


@pytest.mark.parametrize(
    ("text", "cores", "name"),
    [
        ("model name\t: AMD  Ryzen 9 7950X\nmodel name\t: other\n", 32, "AMD Ryzen 9 7950X, 32 cores"),
        ("cpu family : 26\nmodel : 2\nmodel name : AMD EPYC\n", 1, "AMD EPYC (family 26, model 2), 1 core"),
        ("model name : AMD EPYC\n", 2, "AMD EPYC, 2 cores"),
    ],
)
def test_a_processor_is_named_with_the_machines_cores(
    text: str, cores: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert machine.device_name("cpu") == name


def test_a_processor_without_cpuinfo_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert machine.device_name("cpu") == "arm64, 8 cores"


def test_a_gpu_is_named_by_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU number {number}")
    assert machine.device_name("cuda") == "GPU number 0"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TimingError, match="NVIDIA GPU"):
        machine.device_name("cuda")
    with pytest.raises(UnknownNameError, match="unknown device 'tpu'"):
        machine.device_name("tpu")


def test_versions_are_those_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime
    import torch

    assert machine.runtime_versions("onnxruntime") == {"onnxruntime": onnxruntime.__version__}
    for runtime in ("eager", "compile"):
        # a build's own part, "+cu130", may be in one of the two only
        assert machine.runtime_versions(runtime)["torch"].split("+")[0] == torch.__version__.split("+")[0]
    with pytest.raises(UnknownNameError, match="unknown runtime 'tensorrt'"):
        machine.runtime_versions("tensorrt")

    def version(name: str) -> str:
        if name == "onnxruntime-gpu":
            return "9.9"
        raise machine.PackageNotFoundError(name)

    monkeypatch.setattr(machine, "version", version)
    assert machine.runtime_versions("onnxruntime") == {"onnxruntime": "9.9"}
    with pytest.raises(TimingError, match="pip install torch"):
        machine.runtime_versions("eager")
