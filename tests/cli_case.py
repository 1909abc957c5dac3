"""`octnas ...` in this process: what it printed, and its exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import typer

from octnas import cli

__all__ = ["Done", "Octnas", "caller", "with_commands_of"]


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


def with_commands_of(register: Callable[[typer.Typer], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives `octnas` the commands that one file registers, and no others."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)  # one command alone would be the application itself
    register(app)
    monkeypatch.setattr(cli, "app", app)
