"""The project's documents as readers follow them: fenced blocks, the commands in them, and which are run."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typer.main import get_command

from octnas.cli import app

__all__ = ["DOCUMENTS", "NOT_RUN", "ROOT", "Block", "Command", "blocks", "commands", "fault", "why_not_run"]

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")),
    "search_spaces/README.md",
    "runners/README.md",
    "dashboards/grafana/README.md",
)
"""Documents whose commands somebody types."""

NOT_RUN: tuple[tuple[str, str], ...] = (
    (r"^python3? -m venv|pip install", "a new environment: CI begins with one"),
    (r"python -m pytest|/ruff |/mypy$", "what CI itself runs"),
    (r"^(\. \.venv|export )", "a setting of the shell that types the next command"),
    (r"^sbatch ", "needs Slurm; tests/unit/runners runs the script with stand-ins"),
    (
        r"^(docker|kubectl) ",
        "needs Docker or Kubernetes; tests/unit/runners checks the files",
    ),
    (r"^ssh ", "needs another machine"),
    (r"^ray ", "begins, asks or ends every Ray of the machine; tests/cluster starts nodes of its own"),
    (r"^octnas .*--cluster", "needs a Ray cluster; tests/cluster and tests/integration search on one"),
    (r"^octnas .*\bacross\b", "of the search on a cluster; tests/cluster follows this document with nodes"),
    (r"^octnas dashboard", "a server that runs until Ctrl-C"),
    (r"^octnas --(install|show)-completion", "writes to the settings of the reader's shell"),
    (r"^(\.venv/bin/)?python docs/reference.py", "tests/unit/test_reference.py builds it"),
    (r"^python benchmarks/", "a measurement of minutes to hours, no step of a reader"),
)
"""Commands that no test runs as they stand, by a pattern, each with its reason. They are parsed too."""

_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VALUE = re.compile(r"^[A-Z][A-Z0-9_]*=")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, and the line on which it begins."""

    language: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a block, without its comment: `text` as a reader types it, `words` as a shell passes it.

    `settings` are variables given before the command.
    """

    text: str
    words: tuple[str, ...]
    settings: tuple[str, ...] = ()


def blocks(document: str) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        Block(match[1], match[2], 1 + text.count("\n", 0, match.start())) for match in _FENCE.finditer(text)
    ]


def commands(text: str) -> Iterator[Command]:
    """The commands of a block of shell, one by one, those joined by && too."""
    for line in text.replace("\\\n", " ").replace(".venv/bin/octnas", "octnas").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                first = next(place for place, each in enumerate(words) if not _VALUE.match(each))
                yield Command(shlex.join(words[first:]), tuple(words[first:]), tuple(words[:first]))
                words = []


def why_not_run(command: Command) -> str | None:
    """The reason for which no test runs a command; None: it is run."""
    return next((reason for pattern, reason in NOT_RUN if re.search(pattern, command.text)), None)


def fault(command: Command) -> str | None:
    """What is wrong with a command as far as can be told without running it; None: nothing."""
    match command.words:
        case ("octnas", *words):
            return _octnas_fault(words)
        case ("ray", "job", "submit", *words):
            return _octnas_fault(words[words.index("--") + 2 :])
        case ("python" | "python3", script, *words) if script.startswith("benchmarks/"):
            source = (ROOT / script).read_text(encoding="utf-8")
            unknown = [word for word in words if word.startswith("--") and f'"{word}"' not in source]
            return f"{script} has no {unknown}" if unknown else None
        case ("python" | ".venv/bin/python", "-m", "pytest", *words):
            marks = _project()["tool"]["pytest"]["ini_options"]["markers"]
            known = {each.split(":")[0] for each in marks}
            asked = {words[place + 1] for place, word in enumerate(words) if word == "-m"}
            asked = {mark for each in asked for mark in re.findall(r"\w+", each)} - {"not", "and", "or"}
            missing = [word for word in words if word.startswith("tests/") and not (ROOT / word).exists()]
            return None if asked <= known and not missing else f"no such marker or test: {asked}, {missing}"
        case _:
            extras = re.findall(r"(?:octnas|\.)\[([\w,]+)\]", command.text)
            known = set(_project()["project"]["optional-dependencies"])
            asked = {extra for each in extras for extra in each.split(",")}
            files = [word for word in command.words if word.startswith(("runners/", "benchmarks/", "docs/"))]
            missing = [file for file in files if not (ROOT / file).exists()]
            return None if asked <= known and not missing else f"no such extra or file: {asked}, {missing}"


def _octnas_fault(words: list[str]) -> str | None:
    """What the command line says of the arguments: above all an option or a command that it does not know."""
    group = get_command(app)
    context = group.make_context("octnas", ["list"])
    if words and words[0].startswith("-"):
        known = {option for parameter in group.params for option in parameter.opts}
        return None if words[0] in known else f"octnas has no option {words[0]}"
    command = group.get_command(context, words[0])  # type: ignore[attr-defined]
    if command is None:
        return f"octnas has no command {words[0]}"
    try:
        command.make_context(words[0], words[1:], parent=context)
    except Exception as error:
        return f"{error}"
    return None


def _project() -> dict[str, dict[str, dict[str, dict[str, list[str]]]]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
