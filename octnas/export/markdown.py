"""Pieces of Markdown."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["escaped", "numbers", "percent", "table"]


def table(header: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    """A table of two columns."""
    lines = [header, ("---", "---"), *rows]
    return "\n".join(f"| {left} | {right} |" for left, right in lines)


def escaped(text: str) -> str:
    """One line that Markdown shows as it stands, inside a table as well."""
    line = " ".join(text.split())
    for character in "\\`*_[]<>|":
        line = line.replace(character, f"\\{character}")
    return line


def numbers(values: Sequence[float]) -> str:
    """ "[0.5, 0.25]", as code has it."""
    return "[" + ", ".join(f"{value:.6g}" for value in values) + "]"


def percent(share: float | None) -> str:
    """A share of 0 to 1 in per cent."""
    return "not measured" if share is None else f"{100 * share:.2f} %"
