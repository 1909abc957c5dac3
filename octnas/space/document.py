"""Strict YAML: plain mappings, lists and scalars, with the line that each key stands on.

Anchors, aliases, merges, tags, several documents and repeated keys are refused: a space file says
everything once, in the open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from octnas.errors import SpaceError

__all__ = ["Document", "KeyPath", "parse_document"]

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The value of a YAML text and where its keys stand."""

    source: str
    """What to call the text in errors, usually its path."""
    value: dict[str, Any]
    lines: dict[KeyPath, int]
    """Line, from 1, of each key."""

    def place(self, path: KeyPath) -> str:
        """'FILE line N, `a.b`' for the nearest key of `path` that the text has."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        line = f" line {self.lines[known]}" if known else ""
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        return f"{self.source}{line}, `{key}`" if key else f"{self.source}{line}"


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-3 as a number, as YAML 1.2 does."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse_document(text: str, *, source: str) -> Document:
    """The mapping that a YAML text spells.

    Raises:
        SpaceError: malformed YAML, or any of what this module's docstring refuses; names the line.
    """
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.NodeEvent) and event.anchor:
                raise SpaceError(
                    f"{source} line {_line(event.start_mark)}: anchors and aliases are not allowed "
                    f"(got {event.anchor!r}): write the value out"
                )
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                raise SpaceError(f"{source}: a search space must be a mapping of keys to values")
            lines: dict[KeyPath, int] = {}
            _check(node, (), lines, source)
            value = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {_line(mark)}" if mark else ""
        raise SpaceError(f"{source}{line}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, SpaceError):
            raise
        raise SpaceError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    return Document(source=source, value=value, lines=lines)


def _line(mark: Any) -> int:
    """The line of one of the parser's marks, from 1."""
    return int(mark.line) + 1


def _check(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], source: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            lines[(*path, index)] = _line(child.start_mark)
            _check(child, (*path, index), lines, source)
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            line = _line(key.start_mark)
            if key.tag != "tag:yaml.org,2002:str":
                what = "merges are not allowed" if key.value == "<<" else "a key must be a plain word"
                raise SpaceError(f"{source} line {line}: {what}, but got {key.value!r}")
            inner = (*path, key.value)
            if inner in lines:
                raise SpaceError(
                    f"{source} line {line}: key {key.value!r} stands twice "
                    f"(first on line {lines[inner]}): keep one"
                )
            lines[inner] = line
            _check(child, inner, lines, source)
