"""What `octnas search` makes of --budget-gflops, --budget-ms, --objective and --profile."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from octnas import engine
from octnas.cli import app, main
from octnas.errors import BudgetError
from octnas.front import SearchResult

JOURNAL = Path(__file__).parents[1] / "data" / "journal-v1-latency.jsonl"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a search or a dry run was called with; the search's result is that of a committed journal."""
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    (tmp_path / "timed").mkdir()
    shutil.copy(JOURNAL, tmp_path / "timed" / "journal.jsonl")
    calls: list[dict[str, Any]] = []

    def search(space: str, **options: Any) -> SearchResult:
        calls.append({"space": space, **options})
        return SearchResult.from_run("timed")

    def dry_run(space: str, **options: Any) -> dict[str, Any]:
        calls.append({"space": space, **options})
        raise BudgetError("no member is as fast")

    monkeypatch.setattr(engine, "search", search)
    monkeypatch.setattr(engine, "dry_run", dry_run)
    return calls


@pytest.mark.parametrize(
    ("options", "passed"),
    [
        (["--budget-gflops", "2.0"], (2.0, None, None, None)),
        (["--budget-ms", "24"], (None, 24.0, None, None)),
        (["--budget-gflops", "2", "--budget-ms", "24.5"], (2.0, 24.5, None, None)),
        (["--budget-gflops", "2", "--objective", "latency"], (2.0, None, "latency", None)),
        (
            ["--budget-ms", "24", "--objective", "gflops", "--profile", "mine.json"],
            (None, 24.0, "gflops", Path("mine.json")),
        ),
        ([], (None, None, None, None)),
    ],
)
@pytest.mark.parametrize("dry", [False, True])
def test_budgets_and_objective_reach_the_engine(
    asked: list[dict[str, Any]], options: list[str], passed: tuple[Any, ...], dry: bool
) -> None:
    done = CliRunner().invoke(app, ["search", *options, *(["--dry-run"] if dry else [])])
    assert isinstance(done.exception, BudgetError) if dry else done.exit_code == 0
    (call,) = asked
    assert tuple(call[key] for key in ("budget_gflops", "budget_ms", "objective", "profile")) == passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget-ms", "two"], "--budget-ms.*'two'"),
        (["--budget-ms", "-1"], "--budget-ms.*'-1'"),
        (["--objective", "speed"], "--objective.*'speed'"),
    ],
)
def test_what_is_no_budget_or_objective_is_refused_in_one_line(
    asked: list[dict[str, Any]],
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["octnas", "search", *options])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert (end.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert re.search(message, said.err), said.err
    assert asked == []


@pytest.mark.parametrize("command", [["search", "--budget-ms", "24"], ["front", "timed"]])
def test_json_tells_budget_objective_and_device(asked: list[dict[str, Any]], command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--json"])
    value = json.loads(done.stdout)
    told = {key: value[key] for key in ("budget_gflops", "budget_ms", "objective", "limit", "device")}
    assert told == {
        "budget_gflops": None,
        "budget_ms": 24.0,
        "objective": "latency",
        "limit": 24.0,
        "device": "a processor, 2 cores",
    }
    assert {each["id"]: each["slower_than_plain"] for each in value["trials"]} == {
        "0": False,
        "1": True,
        "2": True,
    }
    text = CliRunner().invoke(app, command).stdout
    assert "Fewer FLOPs, slower than plain as predicted" in " ".join(text.split())


def test_the_list_tells_the_budget_of_time(asked: list[dict[str, Any]]) -> None:
    (listed,) = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)["searches"]
    assert (listed["budget_gflops"], listed["budget_ms"]) == (None, 24.0)
    assert " 24 ms " in CliRunner().invoke(app, ["list"]).stdout
