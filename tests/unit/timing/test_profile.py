"""A real profile of a tiny space, and the command that makes it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from octnas import cli_latency
from octnas.costs.latency import Correction, Deviation, DeviceProfile
from octnas.costs.ops import built_in_ms
from octnas.costs.plans import network_ops
from octnas.costs.profile_file import check_profile, load_profile, profile_path, save_profile
from octnas.errors import TimingError
from octnas.machine import device_name, runtime_versions
from octnas.space import SearchSpace, load_space, parse_space
from octnas.timing import profile as measuring
from octnas.timing.profile import cached_profile, profile, random_networks, space_ops

TINY = """\
name: tiny
description: one small backbone
granularity: stage
alphas: [0, 0.5]
backbones: [resnet18]
target: {input_size: 16, channels: 1, classes: 4, width: 8, stem: small}
proxy: {data: fashion-sample, width: 8, epochs: 2, input_size: 16}
"""
SPACE = parse_space(TINY)
CLIPS = parse_space(
    """\
name: tiny-clips
description: a 2D and a 3D backbone
granularity: stage
alphas: [0, 0.5]
backbones: [resnet10, i3d_resnet10]
target: {input_size: 16, frames: 3, channels: 1, classes: 4, width: 8, stem: small}
proxy: {data: clips-motion, width: 8, epochs: 2, input_size: 16, frames: 3}
"""
)


def made_up(space: SearchSpace, **changes: Any) -> DeviceProfile:
    """A profile of this device that was never measured."""
    values: dict[str, Any] = {
        "device": device_name("cpu"),
        "kind": "cpu",
        "runtime": "onnxruntime",
        "threads": 1,
        "batch": 1,
        "versions": runtime_versions("onnxruntime"),
        "created": "2026-01-02T03:04:05+00:00",
        "times": {op: built_in_ms(op) for op in space_ops(space)},
        "correction": Correction(factors={}),
        "error": Deviation(median_percent=1.25, worst_percent=3.5, networks=16),
        "seconds": 80.0,
    }
    return DeviceProfile(**{**values, **changes})


def test_a_real_profile_of_a_tiny_space(tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    folder, copy = tmp_path / "cache", tmp_path / "copy.json"
    made = profile(
        SPACE, networks=1, folder=folder, to=copy, progress=lambda part, share: seen.append((part, share))
    )
    assert set(made.times) == space_ops(SPACE)
    assert all(ms >= 0 for ms in made.times.values())
    assert made.error.networks == 2
    check_profile(made, runtime="onnxruntime", threads=1, batch=1)
    assert cached_profile(SPACE, folder=folder) == load_profile(copy) == made
    assert cached_profile(SPACE, folder=folder, batch=2) is None
    assert cached_profile(load_space("small-2d"), folder=folder) is None
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert list(dict.fromkeys(part for part, _ in seen)) == ["operations", "networks", "measuring"]
    plain, octave = (SPACE.uniform("resnet18", alpha) for alpha in (0, "1/2"))
    for arch in (plain, octave):
        assert 0 < made.latency_ms(arch, (1, 16, 16), 4) < 1e4


def test_a_real_profile_of_clips_knows_2d_and_3d(tmp_path: Path) -> None:
    made = profile(CLIPS, runtime="eager", networks=2, folder=tmp_path)
    assert set(made.times) == space_ops(CLIPS)
    assert {(op.dims, op.frames) for op in made.times if op.kind == "conv"} == {(2, 3), (3, 3)}
    assert {op.kernel_time for op in made.times} == {1, 3, 5}
    assert made.error.networks == 3  # the plain network of the first backbone, and a random one of each
    for name in CLIPS.backbones:
        assert 0 < made.latency_ms(CLIPS.uniform(name, "1/2"), (1, 3, 16, 16), 4) < 1e4


def test_the_operations_of_a_space_are_those_of_its_members() -> None:
    space = load_space("imagenet-2d")
    ops = space_ops(space)
    rng = np.random.default_rng(1)
    for arch in random_networks(space, 12, seed=9):
        assert set(network_ops(arch, (3, 224, 224), 1000)) <= ops
        # whatever the device: by times that no rule would give
        assert set(network_ops(arch, (3, 224, 224), 1000, times=lambda _: float(rng.random()))) <= ops
    assert len(ops) < 1000


def test_random_networks_are_distinct_members_of_all_backbones_and_costs() -> None:
    space = load_space("imagenet-2d")
    found = random_networks(space, 16, seed=4)
    assert found == random_networks(space, 16, seed=4)
    assert found != random_networks(space, 16, seed=5)
    assert len(set(found)) == 16
    assert all(space.contains(arch) for arch in found)
    for backbone in space.backbones:
        assert sum(arch.backbone == backbone for arch in found) == 4
    costs = [space.gflops(arch) for arch in found if arch.backbone == "resnet50"]
    assert max(costs) / min(costs) > 1.1
    # a space that has not so many; the dearest of its four members, the plain one, is hardly ever drawn
    assert len(random_networks(SPACE, 100, seed=0)) in (3, 4)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"device": "cuda"}, "must be of a processor"),
        ({"threads": 4096}, "`threads` must be 1 to"),
        ({"batch": 0}, "`batch` must be 1"),
        ({"networks": 0}, "`networks` must be 1 or more, but got 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_before(
    tmp_path: Path, setting: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "op_times", lambda *_, **__: pytest.fail("measured"))
    with pytest.raises(TimingError, match=words):
        profile(SPACE, folder=tmp_path, **setting)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "op_times", interrupted)
    with pytest.raises(KeyboardInterrupt):
        profile(SPACE, folder=tmp_path / "cache", to=tmp_path / "copy.json")
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []


@pytest.fixture
def octnas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `octnas profile ...` with a cache of its own and the tiny space in tiny.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OCTNAS_CACHE", str(tmp_path / "cache"))
    Path("tiny.yaml").write_text(TINY, encoding="utf-8")
    app = typer.Typer()
    app.callback()(lambda: None)
    cli_latency.register(app)
    return lambda *options: CliRunner().invoke(app, ["profile", "--space", "tiny.yaml", *options])


def test_a_cached_profile_is_printed_and_copied(octnas: Callable[..., Any], tmp_path: Path) -> None:
    cached = made_up(SPACE)
    save_profile(cached, profile_path(cached))
    text = octnas().stdout
    for words in (
        device_name("cpu"),
        "median 1.2 %, worst 3.5 %",
        cached.created,
        "from the cache",
        "--force",
    ):
        assert words in " ".join(text.split())
    document = json.loads(octnas("--json", "--to", "mine.json").stdout)
    assert document == {
        "space": "tiny",
        "device": device_name("cpu"),
        "runtime": "onnxruntime",
        "threads": 1,
        "batch": 1,
        "versions": runtime_versions("onnxruntime"),
        "ops": len(cached.times),
        "networks": 16,
        "error": {"median_percent": 1.25, "worst_percent": 3.5},
        "seconds": 80.0,
        "created": cached.created,
        "cached": True,
        "digest": cached.digest,
        "file": "mine.json",
    }
    assert load_profile(tmp_path / "mine.json") == cached


def test_force_and_another_setting_measure(
    octnas: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = made_up(SPACE)
    save_profile(cached, profile_path(cached))
    asked: list[dict[str, Any]] = []

    def measured(space: SearchSpace, **setting: Any) -> DeviceProfile:
        asked.append(setting)
        setting.pop("progress")("networks", 0.5)
        return made_up(space, created="2026-06-06T00:00:00+00:00")

    monkeypatch.setattr(measuring, "profile", measured)
    done = octnas("--force", "--networks", "3", "--json")
    assert json.loads(done.stdout)["cached"] is False
    assert "making whole networks ready" in done.stderr
    octnas("--runtime", "eager", "--batch", "2")
    octnas()
    assert [(each["runtime"], each["batch"], each["networks"]) for each in asked] == [
        ("onnxruntime", 1, 3),
        ("eager", 2, None),
    ]


def test_ctrl_c_ends_with_130(octnas: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "profile", interrupted)
    done = octnas()
    assert done.exit_code == 130
    assert "interrupted; nothing was written" in done.stderr


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, typer\n"
        "from octnas import cli_latency\n"
        "app = typer.Typer()\n"
        "app.callback()(lambda: None)\n"
        "cli_latency.register(app)\n"
        "app(['profile', '--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'onnxruntime', 'numpy', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
