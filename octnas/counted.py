"""A number with its noun, as every text of octnas says it."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """ "1 epoch", "2 epochs", "1,024 scores": for nouns whose plural adds an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
