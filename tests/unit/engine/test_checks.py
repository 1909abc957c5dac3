"""What a search refuses at its door, and how a failure after it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from octnas.engine import workers
from octnas.engine.checks import admitted_space, check_numbers, data_source
from octnas.errors import BudgetError, OctnasError, RunError, SearchFailedError, afterwards
from octnas.space import load_space


def test_a_folder_of_images_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "glyphs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert data_source("photos") == str(tmp_path / "photos")
    assert data_source("glyphs") == "glyphs"  # a set's own name comes first
    assert data_source("nowhere") == "nowhere"
    space, _ = admitted_space("small-2d", data="photos")
    assert space.proxy.data == str(tmp_path / "photos")
    assert admitted_space("small-2d") == (load_space("small-2d"), "small-2d")


@pytest.mark.parametrize(
    "numbers",
    [
        {"trials": 0},
        {"max_minutes": 0.0},
        {"max_minutes": float("nan")},
        {"max_minutes": float("inf")},
        {"seed": -1},
        {"seed": 2**63},
    ],
)
def test_numbers_without_a_meaning_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(RunError, match=next(iter(numbers))):
        check_numbers(**{"trials": 1, "max_minutes": None, "seed": 0, **numbers})  # type: ignore[arg-type]


@pytest.mark.parametrize("cpus", [0, 1.5, 10_000, float("nan")])
def test_more_cores_than_there_are_is_refused(cpus: float) -> None:
    with pytest.raises(RunError, match="cpus_per_trial"):
        workers.plan_workers(cpus)


@pytest.mark.parametrize("gpus", [-0.5, 1000.0, float("nan")])
def test_more_gpus_than_there_are_is_refused(gpus: float) -> None:
    with pytest.raises(RunError, match="gpus_per_trial"):
        workers.plan_workers(1, gpus)


def test_what_fails_after_the_start_exits_with_1_and_says_how_to_go_on() -> None:
    with pytest.raises(RunError, match=r"^the disk is full; go on$") as full, afterwards("; go on"):
        raise RunError("the disk is full")
    assert full.value.exit_code == 1
    assert RunError("another").exit_code == 2
    with pytest.raises(SearchFailedError, match=r"^all failed$"), afterwards("; go on"):
        raise SearchFailedError("all failed")  # it says by itself what to do
    with (
        pytest.raises(OctnasError, match=r"^too small; outer$"),
        afterwards("; outer again"),
        afterwards("; outer"),
    ):
        raise BudgetError("too small")
