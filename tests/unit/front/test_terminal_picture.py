"""The picture of the terminal in the documents, drawn from a journal."""

from __future__ import annotations

import re
import runpy
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from shared_run_case import shared_run

import octnas

SCRIPT = Path(octnas.__file__).parents[1] / "docs" / "terminal.py"


def test_the_picture_is_what_the_journal_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    run = shared_run(name="drawn")
    script = runpy.run_path(str(SCRIPT))
    event, final = script["event_at"]("drawn", 9)
    ended = [record for record in run.records() if record.state.final][:9]
    assert [record.id for record in final] == [record.id for record in ended]
    assert (event.finished, event.planned) == (9, 16)
    drawn = script["picture"]("drawn", 9)
    text = "".join(ElementTree.fromstring(drawn).itertext()).replace("\xa0", " ")
    assert "9/16" in text
    assert text.count("★") == 2  # the mark and its key
    assert f"best {100 * event.best.accuracy:.2f} %" in text
    assert set(re.findall(r"https?://[^\s\"<]+", drawn)) == {
        "http://www.w3.org/2000/svg",
        "https://www.textualize.io",
    }
