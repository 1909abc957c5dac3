"""Where the names of yardsticks and of the best candidate stand in a picture, so that they hide least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from octnas.front.layers import Layers
from octnas.front.result import SearchResult
from octnas.record import TrialRecord

__all__ = ["Label", "place_labels"]

Anchor = Literal["left", "center", "right"]
_Box = tuple[float, float, float, float]

_OFFSETS: tuple[tuple[float, float, Anchor], ...] = (
    (0.0, 0.042, "center"),
    (0.0, -0.042, "center"),
    (0.016, 0.0, "left"),
    (-0.016, 0.0, "right"),
    (0.012, 0.05, "left"),
    (-0.012, 0.05, "right"),
    (0.012, -0.05, "left"),
    (-0.012, -0.05, "right"),
    (0.0, 0.085, "center"),
    (0.0, -0.085, "center"),
)
"""Where a label may stand beside its point, in shares of the picture; the first free wins."""

_CHARACTER, _LINE = 0.0078, 0.028
"""Width of a character and height of a line in shares of the picture."""

_SHIFT: dict[Anchor, float] = {"left": 0.5, "center": 0.0, "right": -0.5}


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """A trial's name, `dx` and `dy` beside its point in shares of the picture's width and height."""

    record: TrialRecord
    text: str
    dx: float
    dy: float
    anchor: Anchor


def place_labels(result: SearchResult, layers: Layers) -> list[Label]:
    """A label for the best candidate and for each yardstick, the best first."""
    boxes = [_box(*layers.relative(record), 0.012, 0.02) for record in layers.shown]
    labels = []
    for record in layers.named(result):
        text = _text(record, layers)
        width = _CHARACTER * len(text)
        x, y = layers.relative(record)
        options = [
            (_box(x + dx + _SHIFT[anchor] * width, y + dy, width / 2, _LINE / 2), dx, dy, anchor)
            for dx, dy, anchor in _OFFSETS
        ]
        box, dx, dy, anchor = min(options, key=lambda option: _clash(option[0], boxes))
        boxes.append(box)
        labels.append(Label(record=record, text=text, dx=dx, dy=dy, anchor=anchor))
    return labels


def _text(record: TrialRecord, layers: Layers) -> str:
    if record.yardstick is None:
        return f"best: trial {record.id}"
    return f"{record.yardstick}, {record.gflops:.2f} →" if layers.is_beyond(record) else record.yardstick


def _box(x: float, y: float, half_width: float, half_height: float) -> _Box:
    return x - half_width, y - half_height, x + half_width, y + half_height


def _clash(box: _Box, others: Sequence[_Box]) -> float:
    """The area that the box shares with the others, and what of it would leave the picture, weighed more."""
    shared = 0.0
    for other in others:
        width = min(box[2], other[2]) - max(box[0], other[0])
        height = min(box[3], other[3]) - max(box[1], other[1])
        shared += max(0.0, width) * max(0.0, height)
    outside = max(0.0, -box[0]) + max(0.0, box[2] - 1) + max(0.0, -box[1]) + max(0.0, box[3] - 1)
    return shared + 10 * outside
