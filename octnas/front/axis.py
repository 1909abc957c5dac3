"""Axis: the cost that a front weighs accuracy against, its unit, and whose it is.

GFLOPs are 10^9 multiply-adds of the target network. Milliseconds are the target network's latency as the
profile of a device predicts it; nothing in this package measures any.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

from octnas.counted import counted
from octnas.record import Objective, SearchHeader, TrialRecord

__all__ = [
    "Axis",
    "budget_note",
    "budget_words",
    "cost_words",
    "device_words",
    "input_words",
    "milliseconds",
    "samples",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """What a search's front has across: `objective`, and `device`, for which ms are predicted.

    `device` holds name, runtime, threads and batch in words, None where the search had no profile.
    """

    objective: Objective = "gflops"
    device: str | None = None

    @classmethod
    def of(cls, header: SearchHeader) -> Axis:
        """The axis of a search."""
        return cls(objective=header.objective, device=device_words(header))

    def cost(self, record: TrialRecord) -> float:
        """The trial's place on the axis."""
        return record.cost(self.objective)

    @property
    def unit(self) -> str:
        """ "GFLOPs" or "ms"."""
        return "GFLOPs" if self.objective == "gflops" else "ms"

    @property
    def quantity(self) -> str:
        """What is equal or lower where two trials are compared: "cost" or "latency"."""
        return "cost" if self.objective == "gflops" else "latency"

    @property
    def title(self) -> str:
        """The axis' title; that of GFLOPs holds "10^9"."""
        if self.objective == "gflops":
            return "GFLOPs of the target network (10^9 multiply-adds)"
        return "predicted latency of the target network, ms"

    def title_lines(self, width: int) -> list[str]:
        """What stands below the title, in lines of at most `width` letters: the device of the latencies."""
        return [] if self.objective == "gflops" or not self.device else textwrap.wrap(self.device, width)

    @property
    def limit_words(self) -> str:
        """What bounds the front where its axis has no budget."""
        return f"the largest {self.quantity} of the space"

    @property
    def subject(self) -> str:
        """What a picture shows: "Accuracy against compute" or "Accuracy against latency"."""
        return f"Accuracy against {'compute' if self.objective == 'gflops' else 'latency'}"

    @property
    def whose(self) -> str:
        """For the end of a sentence with figures: "; ms: predicted for DEVICE", "" without latencies."""
        return "" if self.device is None else f"; ms: predicted for {self.device}"

    def figures(self, record: TrialRecord) -> str:
        """ "1.700 GFLOPs", with its latency where it is known; what the search weighs stands first."""
        return cost_words(record, self.objective)

    def shares(self, ours: TrialRecord, theirs: TrialRecord) -> str:
        """ "94 % of its multiply-adds", and of its latency where that is known."""
        adds = f"{100 * ours.gflops / theirs.gflops:.0f} % of its multiply-adds"
        if ours.latency_ms is None or not theirs.latency_ms:
            return adds
        time = f"{100 * ours.latency_ms / theirs.latency_ms:.0f} % of its latency"
        return f"{adds} and {time}" if self.objective == "gflops" else f"{time} and {adds}"


def cost_words(record: TrialRecord, first: Objective = "gflops") -> str:
    """ "1.700 GFLOPs", "1.700 GFLOPs, 12.34 ms" where the latency is known, or the other way round."""
    if record.latency_ms is None:
        return f"{record.gflops:.3f} GFLOPs"
    words = (f"{record.gflops:.3f} GFLOPs", f"{milliseconds(record.latency_ms)} ms")
    return ", ".join(words if first == "gflops" else reversed(words))


def milliseconds(value: float) -> str:
    """A latency with four digits or so: "0.345", "12.34", "123.4"."""
    return f"{value:.{1 if value >= 100 else 2 if value >= 1 else 3}f}"


def device_words(header: SearchHeader) -> str | None:
    """ "a processor, 2 cores, onnxruntime, 1 thread, batch 1"; None where the search had no profile."""
    if header.profile is None:
        return None
    profile = header.profile
    threads = counted(int(profile["threads"]), "thread")
    return f"{profile['device']}, {profile['runtime']}, {threads}, batch {profile['batch']}"


def samples(header: SearchHeader) -> Literal["images", "clips"]:
    """What the proxy is trained and scored on.

    The search writes the shape of one into its header's options as "input_shape".
    """
    return "clips" if len(header.options.get("input_shape", ())) == 4 else "images"


def input_words(header: SearchHeader) -> str:
    """ " as 1x4x20x20", for after the data's name: channels, frames and px of a clip; "" for still images."""
    return "" if samples(header) == "images" else f" as {'x'.join(map(str, header.options['input_shape']))}"


def budget_words(header: SearchHeader) -> str:
    """ "2 GFLOPs", "30 ms" or "2 GFLOPs and 30 ms"."""
    budgets = ((header.budget_gflops, "GFLOPs"), (header.budget_ms, "ms"))
    return " and ".join(f"{value:g} {unit}" for value, unit in budgets if value is not None) or "none"


def budget_note(header: SearchHeader) -> str:
    """What stands beside the budget's line in a picture, in one or two lines.

    A budget of the cost that is not on the axis has no line: the note says that there is one.
    """
    budgets = {"GFLOPs": header.budget_gflops, "ms": header.budget_ms}
    own = budgets.pop(Axis.of(header).unit)
    ((unit, other),) = budgets.items()
    if own is None:
        return "" if other is None else f"budget {other:g} {unit},\nnot on this axis"
    if header.profile is None and other is None:
        return f"budget {own:g}"
    more = "" if other is None else f"\nand {other:g} {unit}"
    return f"budget {own:g} {Axis.of(header).unit}{more}"
