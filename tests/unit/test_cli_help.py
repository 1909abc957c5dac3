"""Help texts: each command has an example that is a valid command line, each option says what it is."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from octnas.cli import app

GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands

OPTIONS = [
    pytest.param(parameter, id=f"{name} {parameter.opts[0]}")
    for name, command in COMMANDS.items()
    for parameter in command.params
]


def _parsed(line: str) -> dict[str, Any]:
    """The values of a command line's parameters, checked as they are before its command runs."""
    program, name, *arguments = shlex.split(line)
    assert program == "octnas"
    with COMMANDS[name].make_context(name, arguments) as context:
        return dict(context.params)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_is_a_valid_command_line(name: str) -> None:
    example = COMMANDS[name].epilog
    assert example.startswith(f"Example: octnas {name}")
    given = _parsed(example.removeprefix("Example: "))
    words = shlex.split(example)
    assert all(value in words for value in given.values() if isinstance(value, str) and value.isupper())


@pytest.mark.parametrize(
    "line",
    [
        "octnas search --budget-gflop 2.0",
        "octnas search --budget-gflops two",
        "octnas search --sampler tpi",
        "octnas front",
        "octnas cost resnet50 resnet18",
    ],
)
def test_the_parser_of_these_tests_refuses_what_is_none(line: str) -> None:
    with pytest.raises(typer.TyperException):
        _parsed(line)


@pytest.mark.parametrize("parameter", OPTIONS)
def test_an_option_has_a_sentence_and_a_default(parameter: Any) -> None:
    text = parameter.help or ""
    assert re.fullmatch(r"[A-Za-z0-9].*\.", text), text
    says = "Default: " in text or "Default, " in text
    if (
        parameter.required
        or parameter.param_type_name == "argument"
        or parameter.type_descriptor.annotation is bool
    ):
        return
    if parameter.default is None:
        assert says or "instead of" in text or text.startswith("Also ") or text.endswith(" too."), text
    else:
        assert not says, "typer prints it"


@pytest.mark.parametrize("parameter", OPTIONS)
def test_what_an_option_takes_is_named_in_a_word(parameter: Any) -> None:
    """ "GFLOPS" or "N" and not a type; choices name themselves, a flag takes nothing."""
    if parameter.type_descriptor.annotation is bool:
        assert parameter.metavar in ("", None)
    elif parameter.param_type_name == "option" and "|" not in (
        shown := parameter.display_type_rich(_context())
    ):
        assert "<" not in shown, f"give it a metavar: {shown}"


def _context() -> Any:
    return COMMANDS["search"].make_context("search", [], resilient_parsing=True)


def test_help_fits_a_terminal_of_80(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            app([name, "--help"], standalone_mode=True)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        # where the help text begins: at least a third of the line is left for it
        begins = [
            line.rstrip("│ ").rindex("  ") for line in lines if re.match(r"│ (\*  )?--\S+ .*[a-z]", line)
        ]
        assert max(begins) <= 53
