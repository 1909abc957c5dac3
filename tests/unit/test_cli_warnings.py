"""How the command line says what is odd about the data."""

from __future__ import annotations

import sys
import warnings

import pytest

from octnas.cli import main
from octnas.errors import DataError, DataWarning


def test_what_is_odd_about_the_data_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def odd(*args: object, **kwargs: object) -> None:
        warnings.warn("skipped the damaged clip a.mp4: it is empty (0 bytes)", DataWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
        raise DataError("no clips are left")

    monkeypatch.setattr("octnas.engine.search", odd)
    monkeypatch.setattr(sys, "argv", ["octnas", "search", "--budget-gflops", "2"])
    with pytest.warns(UserWarning, match="something else"), pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "octnas: skipped the damaged clip a.mp4: it is empty (0 bytes)",
        "octnas: no clips are left",
    ]
