"""A reader of the project's documents: does what they say, in order, in one folder, with small searches."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from documents import ROOT, Block, Command, blocks, commands, why_not_run

from octnas.space import catalog

__all__ = ["Reader", "Said", "shorter", "squeezed"]

SPACES = "small"
"""Folder of the shortened copies of the shipped spaces."""

_SMALLER: Mapping[str, Mapping[str, str]] = {
    "search": {"--trials": "2", "--confirm": "0"},
    "rank": {"--models": "4", "--seeds": "1", "--epochs": "1"},
    "train": {"--scale": "proxy"},
}
"""Options that are given to a command, in place of its own where it has them."""


@dataclass(frozen=True, slots=True)
class Said:
    """A command or a block of Python, what it printed, and how long it took."""

    what: str
    out: str
    err: str
    seconds: float


@dataclass(kw_only=True)
class Reader:
    """Who follows one document.

    `path` is the folder, `replaced` what is changed in the document's text (each must stand there), `before`
    Python that gives names to every block of Python, and `others` says whether the document's excerpts of
    output are of a longer search: then only their lines without digits must be printed. `tried` is done
    with each line of a block of text that is typed and not printed. `env` is what commands have in their
    environment besides.
    """

    path: Path
    replaced: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    others: bool = False
    tried: Callable[[Reader, str], None] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)

    def follow(self, document: str) -> None:
        """Does what the document says.

        Raises:
            AssertionError: a command ends with another exit code than 0, or what stands there is not printed.
        """
        wanted = set(self.replaced)
        with self._in_folder():
            for block in blocks(document):
                text = block.text
                for old, new in self.replaced.items():
                    if old in text:
                        wanted.discard(old)
                        text = text.replace(old, new)
                self._do(Block(block.language, text, block.line), document)
        assert not wanted, f"{document} no longer says {sorted(wanted)}"

    def of(self, part: str) -> str:
        """What the command or the block printed in which `part` is."""
        (found,) = [each.out for each in self.said if part in each.what]
        return found

    def run(self, command: Command) -> Said:
        """A command of octnas as a user types it, without settings of theirs, on one thread, made small."""
        program, *words = command.words
        assert program == "octnas", command.text
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("OCTNAS_", "MLFLOW_"))}
        hub = {"TORCH_HOME": str(self.path / "torch-home")}
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "octnas", *self._smaller(words)],
            cwd=self.path,
            env={
                **kept,
                **hub,
                **self.env,
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "COLUMNS": "120",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        said = Said(command.text, done.stdout, done.stderr, time.monotonic() - begin)
        assert done.returncode == 0, f"{command.text}\n{done.stdout}\n{done.stderr}"
        self.said.append(said)
        return said

    @contextlib.contextmanager
    def _in_folder(self) -> Iterator[None]:
        """Where the reader's own modules are found, and forgotten in the end."""
        before, known = Path.cwd(), set(sys.modules)
        os.chdir(self.path)
        sys.path.insert(0, str(self.path))
        try:
            yield
        finally:
            sys.path.remove(str(self.path))
            os.chdir(before)
            for name in set(sys.modules) - known:
                file = getattr(sys.modules[name], "__file__", None)
                if file is not None and Path(file).is_relative_to(self.path):
                    del sys.modules[name]

    def _do(self, block: Block, document: str) -> None:
        match block.language:
            case "python" if "\ndef make(" in block.text:
                (self.path / "mynet.py").write_text(block.text, encoding="utf-8")
            case "python" if block.text.startswith("def "):
                with (self.path / "mynet.py").open("a", encoding="utf-8") as file:
                    file.write("\n\n" + block.text)
            case "python":
                self._python(block, document)
            case "yaml":
                space = shorter(yaml.safe_load(block.text))
                (self.path / f"{space['name']}.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
            case "sh":
                for command in commands(block.text):
                    if why_not_run(command) is None:
                        self.run(command)
            case "text" if self.tried is not None:
                for line in block.text.splitlines():
                    self.tried(self, line)
            case "text":
                self._compare(block, document)
            case language:
                raise AssertionError(f"{document} has a block of {language!r} on line {block.line}")

    def _python(self, block: Block, document: str) -> None:
        names: dict[str, Any] = {"__name__": "__main__"}
        begin = time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(self.before, names)
            exec(compile(block.text, f"{document}, below line {block.line}", "exec"), names)
        self.said.append(Said(block.text, printed.getvalue(), "", time.monotonic() - begin))

    def _compare(self, block: Block, document: str) -> None:
        """An excerpt of what was printed last, tables with any number of spaces."""
        last = self.said[-1]
        printed = {squeezed(line) for line in f"{last.out}\n{last.err}".splitlines()}
        for line in block.text.splitlines():
            if not (self.others and re.search(r"\d", line)):
                assert squeezed(line) in printed, f"{document}: {last.what} prints no {line}"

    def _smaller(self, words: Sequence[str]) -> list[str]:
        """The same command with few trials, short trainings and a small network."""
        command, *options = words
        for option, value in _SMALLER.get(command, {}).items():
            options = _with(options, option, value)
        if command in ("search", "profile", "supernet"):
            place = options.index("--space") + 1 if "--space" in options else None
            name = "imagenet-2d" if place is None else options[place]
            if name in catalog():
                options = _with(options, "--space", self._copied(name))
        if "--dry-run" in options and "--no-estimate" not in options:
            options.append("--no-estimate")
        if "shared" in options:
            options = _with(options, "--score", "6")
        if "--workers" in options:
            options = _with(options, "--workers", "2")
        return [command, *options]

    def _copied(self, name: str) -> str:
        """A shipped space with short trainings, whose target is its proxy's network."""
        path = self.path / SPACES / f"{name}.yaml"
        if not path.is_file():
            space = shorter(yaml.safe_load(catalog()[name].read_text(encoding="utf-8")))
            shared = ("input_size", "frames", "width", "stem")
            space["target"] |= {key: space["proxy"][key] for key in shared if key in space["proxy"]}
            if name == "pretrained-2d":  # its trainings are of whole networks
                space |= {"backbones": ["resnet18"]}
                space["proxy"]["data"] = "pictures"
            path.parent.mkdir(exist_ok=True)
            path.write_text(yaml.safe_dump(space), encoding="utf-8")
        return f"{SPACES}/{name}.yaml"


def shorter(space: dict[str, Any]) -> dict[str, Any]:
    """A space with trainings of a moment; the networks stay."""
    proxy = {**space["proxy"], "val_images": 60, "rungs": {"eta": 2, "min_epochs": 1}}
    if "steps" in proxy:
        proxy |= {"steps": 8, "evaluations": 2}
    else:
        proxy |= {"epochs": 2, "train_images": 64}
    return {**space, "proxy": proxy}


def _with(options: Sequence[str], option: str, value: str) -> list[str]:
    """The options with one of them set, anew or for the first time."""
    kept = list(options)
    while option in kept:
        place = kept.index(option)
        del kept[place : place + 2]
    return [*kept, option, value]


def squeezed(line: str) -> str:
    """Text with single spaces, as tables and wrapped lines have it in different ways."""
    return " ".join(line.split())
