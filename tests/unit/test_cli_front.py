"""`octnas front`: of one search and of several, printed, as JSON and as a page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_case import SPACE, Octnas, caller
from finished_run import finished_run

from octnas.record import RunFolder
from octnas.record.links import RunLinks


@pytest.fixture
def octnas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Octnas:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    finished_run(SPACE)
    finished_run(SPACE, "second")
    return caller(monkeypatch, capsys)


def data_of(page: Path) -> Any:
    found = re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    return json.loads(found[1])


def test_one_search_is_one_document(octnas: Octnas) -> None:
    done = octnas("front", "r", "--json")
    assert (done.code, done.document["name"], done.document["front"]) == (0, "r", ["t1"])


def test_several_searches_come_in_the_order_in_which_they_were_named(octnas: Octnas) -> None:
    done = octnas("front", "second", "r", "--json")
    assert done.code == 0
    assert [each["name"] for each in done.document["searches"]] == ["second", "r"]
    assert [each["front"] for each in done.document["searches"]] == [["t1"], ["t1"]]
    text = octnas("front", "second", "r").out
    assert text.index("Front of second") < text.index("Front of r")


def test_they_lie_over_one_another_on_one_page(octnas: Octnas, tmp_path: Path) -> None:
    assert octnas("front", "r", "second", "--html", "both.html").code == 0
    assert [each["name"] for each in data_of(tmp_path / "both.html")["searches"]] == ["r", "second"]
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert re.findall(r'data-trial="(\w+)" data-search="(\w+)"', page) == [("t1", "r"), ("t1", "second")]


def test_the_page_has_the_links_that_the_run_kept(octnas: Octnas, tmp_path: Path) -> None:
    links = RunLinks(uri="http://tracking:5000", experiment_id="1", run_id="ab", trials={"t1": "cd"})
    links.keep(RunFolder.open("r").path)
    assert octnas("front", "r", "--html", "front.html").code == 0
    (search,) = data_of(tmp_path / "front.html")["searches"]
    assert search["links"] == {"search": links.search_page, "trials": [links.trial_page("t1")]}
    assert octnas("front", "second", "--html", "front.html").code == 0
    assert data_of(tmp_path / "front.html")["searches"][0]["links"] is None


def test_a_training_in_full_is_on_the_page(octnas: Octnas, tmp_path: Path) -> None:
    folder = RunFolder.open("r").training("t1", "full")
    folder.mkdir(parents=True)
    report = {"epochs": 12, "accuracy": 0.75, "test_accuracy": 0.7, "seconds": 3.0}
    (folder / "training.json").write_text(json.dumps(report), encoding="utf-8")
    assert octnas("front", "r", "--html", "front.html").code == 0
    (search,) = data_of(tmp_path / "front.html")["searches"]
    assert search["trials"]["full"] == {"0": [["full", 12, 0.75, 0.7]]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody",), "no run named 'nobody'"),
        (("r", "nobody"), "no run named 'nobody'"),
        (("r", "r"), "each search may be named once, but got 'r' twice"),
        (("r", "--html", "missing/front.html"), "cannot write missing/front.html: No such file or directory"),
        ((), "Missing argument"),
    ],
)
def test_bad_input_is_one_line(octnas: Callable[..., Any], arguments: tuple[str, ...], said: str) -> None:
    done = octnas("front", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err
