"""Still images, clips, 2D and 3D backbones: what goes together, and how the rest is refused at the door."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from octnas import engine
from octnas.costs import cost
from octnas.engine import dry_run, dry_run_table
from octnas.engine.budgets import admitted_budgets
from octnas.engine.checks import admitted_space, load_data
from octnas.engine.inputs import check_kind, shape_words
from octnas.engine.jobs import new_record
from octnas.engine.sizing import Pace
from octnas.engine.yardsticks import choose_yardsticks
from octnas.errors import BudgetError, DataError, OctnasError
from octnas.record import RunFolder, SearchHeader
from octnas.space import SearchSpace, load_space, parse_space

CLIPS = """
name: moves
description: two backbones on clips
granularity: stage
alphas: [0, 0.5]
backbones: [resnet10, i3d_resnet10]
{budget}
target: {{input_size: 20, frames: 4, channels: 1, classes: 8, width: 8, stem: small}}
proxy: {{data: clips-motion, width: 8, input_size: 20, frames: 4, train_images: 64, steps: 4, evaluations: 2}}
"""
STILL = """
name: still
description: one backbone on images
granularity: stage
backbones: [resnet18]
target: {input_size: 32, channels: 1, classes: 10, width: 16, stem: small}
proxy: {data: fashion-sample, width: 16, epochs: 2}
"""


@pytest.fixture
def clips() -> SearchSpace:
    return parse_space(CLIPS.format(budget=""))


@pytest.fixture
def still() -> SearchSpace:
    return parse_space(STILL)


def folder_of_clips(path: Path) -> str:
    """Volumes of two classes, 5 slices of 8 px."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("a", "b"):
            (path / split / name).mkdir(parents=True)
            for number in range(3):
                volume = rng.integers(0, 255, (5, 8, 8), dtype=np.uint8)
                np.save(path / split / name / f"{number}.npy", volume)
    return str(path)


def test_what_fits_is_let_in(clips: SearchSpace, still: SearchSpace, tmp_path: Path) -> None:
    check_kind(clips)
    check_kind(still)
    check_kind(clips.restricted(backbones=["resnet10"], data="clips-appearance"))
    folder = folder_of_clips(tmp_path)
    space, _ = admitted_space(clips, data=folder)
    check_kind(space)
    assert load_data(space).shape == (3, 4, 20, 20)  # folders are read as RGB


@pytest.mark.parametrize(
    ("backbones", "message"),
    [
        (["i3d_resnet10"], "i3d_resnet10 is a 3D backbone and needs clips, but glyphs holds still images"),
        (None, "i3d_resnet10 is a 3D backbone and needs clips, but glyphs holds still images"),
        (["resnet10"], "space moves trains on clips of 4 frames, but glyphs holds still images"),
    ],
)
def test_still_images_in_a_space_of_clips_are_refused_with_what_to_do(
    clips: SearchSpace, backbones: list[str] | None, message: str
) -> None:
    space = clips.restricted(backbones=backbones, data="glyphs")
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        check_kind(space)
    said = str(caught.value)
    assert "\n" not in said
    assert "clips-motion" in said
    assert "imagenet-2d" in said
    assert caught.value.exit_code == 2


def test_clips_in_a_space_of_still_images_are_refused_with_what_to_do(
    still: SearchSpace, tmp_path: Path
) -> None:
    for data in ("clips-motion", folder_of_clips(tmp_path)):
        with pytest.raises(DataError, match="space still is of still images, but") as caught:
            check_kind(still.restricted(data=data))
        assert f"{data} holds clips" in str(caught.value)
        assert "search a space of clips (clips-small or video)" in str(caught.value)


def test_the_door_of_search_and_dry_run_is_this_one(
    clips: SearchSpace, still: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    for space, data in ((clips, "glyphs"), (still, "clips-motion")):
        for command in (engine.search, dry_run):
            with pytest.raises(DataError, match="still images"):
                command(space, budget_gflops=1.0, data=data)
    with pytest.raises(OctnasError, match="did you mean 'clips-motion'"):
        engine.search(clips, budget_gflops=1.0, data="clips-moton")
    assert not list(tmp_path.iterdir())


def test_a_trial_on_clips_counts_all_frames(
    clips: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    feasible = clips.feasible(1.0)
    header = SearchHeader(
        name="r", space_yaml=clips.to_yaml(), budget_gflops=1.0, trials=1, seed=0, data="clips-motion"
    )
    run = RunFolder.create("r", header)
    flat, volumetric = (clips.uniform(name, "1/2") for name in clips.backbones)
    frames, frame = (cost(flat, shape, 8).macs for shape in ((1, 4, 20, 20), (1, 20, 20)))
    record = new_record(run, feasible, flat, trial_id="1", yardstick=None)
    assert record.gflops == frames / 1e9 == clips.gflops(flat)
    assert 3.9 < frames / frame < 4
    record = new_record(run, feasible, volumetric, trial_id="2", yardstick=None)
    assert record.gflops == cost(volumetric, (1, 4, 20, 20), 8).gflops == clips.gflops(volumetric)
    run.journal.release()


def test_yardsticks_of_both_kinds_of_backbones(clips: SearchSpace) -> None:
    labels = [
        (each.label, each.architecture.backbone)
        for each in choose_yardsticks(clips, clips.feasible(1.0), trials=12)
    ]
    assert labels == [
        ("plain-pooled", "i3d_resnet10"), ("uniform-0", "resnet10"), ("plain", "i3d_resnet10"),
    ]  # fmt: skip


def test_the_budget_of_a_space_is_taken_where_none_is_asked_for(clips: SearchSpace) -> None:
    own = parse_space(CLIPS.format(budget="budget_gflops: 0.01"))
    none = {"budget_gflops": None, "budget_ms": None, "objective": None, "profile": None}
    found = admitted_budgets(own, **none)  # type: ignore[arg-type]
    assert (found.gflops, found.ms, found.objective, found.from_space) == (0.01, None, "gflops", True)
    asked = admitted_budgets(own, **{**none, "budget_gflops": 0.02})  # type: ignore[arg-type]
    assert (asked.gflops, asked.from_space) == (0.02, False)
    timed = admitted_budgets(own, **{**none, "budget_ms": 3.0})  # type: ignore[arg-type]
    assert (timed.gflops, timed.ms, timed.from_space) == (None, 3.0, False)
    with pytest.raises(BudgetError, match="give --budget-gflops, --budget-ms or both"):
        admitted_budgets(clips, **none)  # type: ignore[arg-type]
    report = dry_run(own, estimate=False)
    assert (report["budget_gflops"], report["reachable"]) == (0.01, True)


def test_a_dry_run_says_what_memory_a_training_on_clips_takes(clips: SearchSpace) -> None:
    report = dry_run(clips, budget_gflops=0.02, trials=2, confirm=0)
    memory = report["estimate"]["peak_memory_mb"]
    assert memory.keys() == {"resnet10", "i3d_resnet10"}
    assert all(value > 50 for value in memory.values())
    rows = dict(zip(*(column.cells for column in dry_run_table(report).columns), strict=True))
    assert re.fullmatch(r"[\d,]+ MB at most, (i3d_)?resnet10", str(rows["memory of a training"]))
    assert Pace(until=(1.0,), test=0.0).memory_mb == 0.0


def test_shapes_in_words() -> None:
    assert shape_words((3, 224, 224)) == "3x224x224"
    assert shape_words([1, 4, 20, 20]) == "1x4x20x20"


def test_the_catalog_has_spaces_of_both_kinds_whose_data_fit() -> None:
    for name in ("clips-small", "video", "imagenet-2d", "small-2d", "mobile-2d", "imagenet-2d-all"):
        space = load_space(name)
        check_kind(space)
        assert (space.proxy.frames is None) is ("2d" in name)


@pytest.mark.parametrize("sampling", ["uniform", "dense"])
def test_frames_are_taken_as_the_space_says(clips: SearchSpace, tmp_path: Path, sampling: str) -> None:
    folder = folder_of_clips(tmp_path)
    proxy = clips.proxy.model_copy(update={"data": folder, "sampling": sampling, "frame_stride": 3})
    space = SearchSpace(clips.definition.model_copy(update={"proxy": proxy}))
    assert parse_space(space.to_yaml()).proxy == proxy
    assert load_data(space).origin.endswith(f"4 frames, {sampling}")
