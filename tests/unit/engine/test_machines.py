"""Where trials run and weights lie, before anything is joined or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from octnas.engine.machines import kept_storage, machines
from octnas.errors import RunError


def test_without_trials_no_machine_is_looked_for() -> None:
    nothing: Any = None
    with machines(
        "127.0.0.1:1", storage=None, cpus=64, gpus=8, space=nothing, images=nothing, trials=0
    ) as found:
        assert found.workers.count == 1


@pytest.mark.parametrize("storage", ["runs", "elsewhere/../runs"])
def test_the_folder_of_the_runs_is_no_storage(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OCTNAS_HOME", "runs")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(RunError, match="another folder than that of the runs"):
        kept_storage(storage)
    assert not (tmp_path / "runs").exists()


def test_a_storage_is_kept_as_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert kept_storage("shared") == str(tmp_path / "shared")
    assert kept_storage(None) is None
