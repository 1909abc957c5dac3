"""`octnas ...` in this process: what it printed, and its exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from stand_ins import TINY_SPACE

from octnas import cli

__all__ = ["SMALL", "SPACE", "Done", "Octnas", "caller", "in_folder_with_a_space", "with_commands_of"]

SPACE = TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 3}\n"
SMALL = ("--space", "tiny.yaml", "--budget-gflops", "0.04")
"""Options of a search in the folder of `in_folder_with_a_space`."""


class Done(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document of a command that says nothing else."""
        assert self.out.count("\n") == 1
        return json.loads(self.out)


Octnas = Callable[..., Done]


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Octnas:
    """A function that runs `octnas` with its arguments."""

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["octnas", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Done(end.value.code, captured.out, captured.err)

    return call


def in_folder_with_a_space(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes to a folder that holds a space, tiny.yaml, as a user without settings of octnas or MLflow."""
    for name in ("OCTNAS_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    (folder / "tiny.yaml").write_text(SPACE, encoding="utf-8")


def with_commands_of(register: Callable[[typer.Typer], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives `octnas` the commands that one file registers, and no others."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)  # one command alone would be the application itself
    register(app)
    monkeypatch.setattr(cli, "app", app)
