"""Where the names of yardsticks and of the best candidate stand in a picture, so that they hide least."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from octnas.front.layers import Layers, staircase
from octnas.front.result import SearchResult
from octnas.record import TrialRecord

__all__ = ["Canvas", "Label", "label_text", "place_labels"]

Anchor = Literal["left", "center", "right"]
_Box = tuple[float, float, float, float]

_OFFSETS: tuple[tuple[float, float, Anchor], ...] = (
    (0.0, 1.2, "center"),
    (0.0, -1.2, "center"),
    (0.8, 0.0, "left"),
    (-0.8, 0.0, "right"),
    (0.5, 1.0, "left"),
    (-0.5, 1.0, "right"),
    (0.5, -1.0, "left"),
    (-0.5, -1.0, "right"),
    (0.5, 1.9, "left"),
    (-0.5, 1.9, "right"),
    (0.0, 2.4, "center"),
    (0.0, -2.4, "center"),
)
"""Where a label may stand beside its point, in lines of text; the first free wins."""

_SHIFT: dict[Anchor, float] = {"left": 0.5, "center": 0.0, "right": -0.5}


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """The inner part of a picture and the letters written on it, all in one unit (points or px)."""

    width: float
    height: float
    character: float
    line: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """A trial's name, `dx` and `dy` beside its point in the unit of the canvas."""

    record: TrialRecord
    text: str
    dx: float
    dy: float
    anchor: Anchor


def place_labels(result: SearchResult, layers: Layers, canvas: Canvas) -> list[Label]:
    """A label for the best candidate and for each yardstick, the best first, clear of points and lines."""

    def place(record: TrialRecord) -> tuple[float, float]:
        x, y = layers.relative(record)
        return canvas.width * x, canvas.height * y

    taken = [_box(*place(record), 0.5 * canvas.line, 0.5 * canvas.line) for record in layers.shown]
    taken += _line_boxes(result, layers, canvas)
    taken += _bar_boxes(layers, canvas)
    labels = []
    for record in layers.named(result):
        text = label_text(record, layers)
        half = canvas.character * len(text) / 2
        x, y = place(record)
        options = []
        for lines_x, lines_y, anchor in _OFFSETS:
            dx, dy = canvas.line * lines_x, canvas.line * lines_y
            box = _box(x + dx + 2 * _SHIFT[anchor] * half, y + dy, half, canvas.line / 2)
            options.append((box, dx, dy, anchor))
        near = _near([option[0] for option in options], taken)
        box, dx, dy, anchor = min(options, key=lambda option: _clash(option[0], near, canvas))
        taken.append(box)
        labels.append(Label(record=record, text=text, dx=dx, dy=dy, anchor=anchor))
    return labels


def _line_boxes(result: SearchResult, layers: Layers, canvas: Canvas) -> list[_Box]:
    """The strokes of the front's line, the uniform line and the budget's line as thin boxes."""
    drawn = (layers.front_line, layers.uniform_line)
    lines = [staircase(line, result.limit, layers.axis) for line in drawn]
    if result.budget is not None:
        lines.append(([result.budget] * 2, [layers.low, layers.high]))
    boxes = []
    for xs, ys in lines:
        right = [canvas.width * (x - layers.left) / (layers.right - layers.left) for x in xs]
        up = [canvas.height * (y - layers.low) / (layers.high - layers.low) for y in ys]
        for (x1, y1), (x2, y2) in itertools.pairwise(zip(right, up, strict=True)):
            boxes.append((min(x1, x2) - 1, min(y1, y2) - 1, max(x1, x2) + 1, max(y1, y2) + 1))
    return boxes


def _bar_boxes(layers: Layers, canvas: Canvas) -> list[_Box]:
    """The bars of confirming seeds, with the strokes that tie them to their points."""
    boxes = []
    for each in layers.confirmed:
        x, y = layers.relative(each.record)
        ends = [(end - layers.low) / (layers.high - layers.low) for end in each.ends]
        low, high = min(y, *ends), max(y, *ends)
        middle, half = canvas.width * x, canvas.line / 3
        boxes.append((middle - half, canvas.height * low, middle + half, canvas.height * high))
    return boxes


def label_text(record: TrialRecord, layers: Layers) -> str:
    """ "best: trial 5", "uniform-0.25" or, for what lies beyond the picture's right edge, "plain, 4.09 →"."""
    dims = ", 3D" if record in layers.volumetric else ""
    if record.yardstick is None:
        return f"best: trial {record.id}{', slower than plain' if record in layers.slower else ''}{dims}"
    cost = f", {layers.axis.cost(record):.2f} →" if layers.is_beyond(record) else ""
    return f"{record.yardstick}{dims}{cost}"


def _box(x: float, y: float, half_width: float, half_height: float) -> _Box:
    return x - half_width, y - half_height, x + half_width, y + half_height


def _near(boxes: Sequence[_Box], others: Sequence[_Box]) -> list[_Box]:
    """Those of the others that may touch any of the boxes, of thousands a few."""
    left, low = (min(box[side] for box in boxes) for side in (0, 1))
    right, high = (max(box[side] for box in boxes) for side in (2, 3))
    reached = (each for each in others if each[0] < right and each[2] > left)
    return [each for each in reached if each[1] < high and each[3] > low]


def _clash(box: _Box, others: Sequence[_Box], canvas: Canvas) -> float:
    """The area that the box shares with the others, and how far it would leave the picture, weighed more."""
    shared = 0.0
    for other in others:
        width = min(box[2], other[2]) - max(box[0], other[0])
        height = min(box[3], other[3]) - max(box[1], other[1])
        if width > 0 and height > 0:
            shared += width * height
    outside = max(0.0, -box[0]) + max(0.0, box[2] - canvas.width)
    outside += max(0.0, -box[1]) + max(0.0, box[3] - canvas.height)
    return shared + 10 * canvas.line * outside
