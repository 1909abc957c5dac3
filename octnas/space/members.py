"""The architectures of one backbone in a space: as alpha indices, as dimensions, as `Architecture`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from octnas.architecture import Architecture, Downsample, low_channels
from octnas.backbones import LayerTable, Slot, layer_table
from octnas.costs.flops import CostTable
from octnas.costs.latency import DeviceProfile, LatencyTable
from octnas.errors import SpaceError
from octnas.space.choices import build_graphs
from octnas.space.graph import ChoiceGraph
from octnas.space.schema import Granularity, Target
from octnas.space.terms import Terms, latency_terms, macs_terms

__all__ = ["Dimension", "Members"]

_STEPS = (-1, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One whole number of a suggestion, 0 to choices - 1."""

    name: str
    choices: int


@dataclass(frozen=True, kw_only=True)
class Members:
    """All architectures that a space has of one backbone.

    *Choices* are alpha indices, one for each slot that may be split at the target's input, in the layer
    table's order; they fix the architecture up to `downsample`.
    """

    backbone: str
    granularity: Granularity
    alphas: tuple[Fraction, ...]
    downsample: tuple[Downsample, ...]
    target: Target

    @cached_property
    def table(self) -> LayerTable:
        """The target's layer table."""
        return layer_table(
            self.backbone,
            width=self.target.width,
            stem=self.target.stem,
            in_channels=self.target.channels,
            num_classes=self.target.classes,
        )

    @cached_property
    def octave(self) -> tuple[bool, ...]:
        """For each slot, whether it may be split at the target's input."""
        return self.table.octave_slots(self.target.input_size)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """The slots that may be split."""
        return tuple(slot for slot in self.table.slots if self.octave[slot.index])

    @cached_property
    def lows(self) -> tuple[tuple[int, ...], ...]:
        """For each slot of the table, the low channels of each allowed alpha."""
        return tuple(
            tuple(low_channels(alpha, slot.channels) for alpha in self.alphas) for slot in self.table.slots
        )

    @cached_property
    def costs(self) -> CostTable:
        """Cost at the target's input."""
        side = self.target.input_size
        return CostTable.of(self.table, side, side, self.target.frames)

    def macs(self, low_channels: Sequence[int]) -> int:
        """Multiply-adds of the target network with these low channels, one number a slot, exact."""
        costs, lows = self.costs, low_channels
        total = costs.constant + sum(slope * low for slope, low in zip(self._slopes, lows, strict=True))
        total += sum(value * lows[i] * lows[j] // groups for i, j, value, groups in costs.pairs)
        return total + sum(
            value * lows[slot] * sum(lows[i] for i in sources) for sources, slot, value in costs.joint
        )

    @cached_property
    def graph(self) -> ChoiceGraph:
        """The choices as paths that cost multiply-adds."""
        return self._graphs(self._macs)[0]

    def latency_table(self, profile: DeviceProfile, downsample: Downsample) -> LatencyTable:
        """The predicted latency of every member, and of the uniform networks, that downsamples this way."""
        lows = [lows if octave else (0,) for lows, octave in zip(self.lows, self.octave, strict=True)]
        return LatencyTable.of(self.table, self.target.input_shape, profile, lows, downsample == "pooled")

    def timed_graphs(self, table: LatencyTable) -> tuple[ChoiceGraph, ChoiceGraph]:
        """The choices as paths that cost multiply-adds, and the same paths that cost nanoseconds."""
        macs, ns = self._graphs(self._macs, latency_terms(table, self.lows, self.octave))
        return macs, ns

    @cached_property
    def size(self) -> int:
        """Number of distinct architectures, exact."""
        return self.graph.size * len(self.downsample)

    def architecture(self, choices: Sequence[int], downsample: Downsample) -> Architecture:
        """The target architecture with these alpha indices."""
        lows = [0] * len(self.table.slots)
        for slot, choice in zip(self.slots, choices, strict=True):
            lows[slot.index] = self.lows[slot.index][choice]
        return Architecture(
            backbone=self.backbone,
            low_channels=tuple(lows),
            downsample=downsample,
            width=self.target.width,
            stem=self.target.stem,
        )

    def choices(self, arch: Architecture) -> tuple[int, ...] | None:
        """The alpha indices of a target architecture; None where it is no member."""
        fits = (arch.backbone, arch.width, arch.stem) == (self.backbone, self.target.width, self.target.stem)
        if not fits or arch.downsample not in self.downsample:
            return None
        found = []
        for slot, low in zip(self.table.slots, arch.low_channels, strict=True):
            if not self.octave[slot.index]:
                if low:
                    return None
            elif low not in self.lows[slot.index]:
                return None
            else:
                found.append(self.lows[slot.index].index(low))
        return tuple(found) if self.graph.contains(found) else None

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """What a sampler chooses for this backbone; nothing with a single choice is a dimension."""
        dimensions: dict[str, int] = {}
        if len(self.downsample) > 1:
            dimensions[self._downsample_name] = len(self.downsample)
        if len(self.alphas) > 1:
            for slot in self.slots:
                dimensions[self._alpha_name(slot)] = len(self.alphas)
                if self.granularity == "stage+layer":
                    dimensions[self._step_name(slot)] = len(_STEPS)
        return tuple(Dimension(name=name, choices=choices) for name, choices in dimensions.items())

    def decode(self, values: Mapping[str, int]) -> tuple[tuple[int, ...], Downsample]:
        """Choices and downsampling of a value for each dimension.

        Raises:
            SpaceError: a dimension is missing, unknown, or its value out of range.
        """
        known = {dimension.name: dimension.choices for dimension in self.dimensions}
        for name in {*known, *values}:
            if name not in known or name not in values or not 0 <= values[name] < known[name]:
                raise SpaceError(
                    f"{name} must be {f'0 to {known[name] - 1}' if name in known else 'no dimension'} "
                    f"of {self.backbone}, but got {values.get(name)}"
                )
        choices = []
        for slot in self.slots:
            index = int(values.get(self._alpha_name(slot), 0))
            if self.granularity == "stage+layer":
                index += _STEPS[int(values.get(self._step_name(slot), _STEPS.index(0)))]
            choices.append(min(max(index, 0), len(self.alphas) - 1))
        return tuple(choices), self.downsample[int(values.get(self._downsample_name, 0))]

    def encode(self, choices: Sequence[int], downsample: Downsample) -> dict[str, int]:
        """The values that `decode` reads back as these choices.

        With `stage+layer` the stage's index is the one in the middle of its layers' indices, or the more
        frequent (then the smaller) of two.
        """
        values: dict[str, int] = {}
        by_name: dict[str, list[int]] = {}
        for slot, choice in zip(self.slots, choices, strict=True):
            by_name.setdefault(self._alpha_name(slot), []).append(choice)
        for slot, choice in zip(self.slots, choices, strict=True):
            name = self._alpha_name(slot)
            center = _center(by_name[name])
            values[name] = center
            values[self._step_name(slot)] = _STEPS.index(choice - center)
        values[self._downsample_name] = self.downsample.index(downsample)
        return {dimension.name: values[dimension.name] for dimension in self.dimensions}

    @property
    def _macs(self) -> Terms:
        return macs_terms(self.costs, self.lows, self.octave)

    def _graphs(self, *costs: Terms) -> tuple[ChoiceGraph, ...]:
        return build_graphs(costs, self.table.slots, self.lows, self.octave, self.granularity)

    @cached_property
    def _slopes(self) -> list[int]:
        slopes: list[int] = self.costs.linear.tolist()
        return slopes

    @property
    def _downsample_name(self) -> str:
        return f"{self.backbone}.downsample"

    def _alpha_name(self, slot: Slot) -> str:
        match self.granularity:
            case "stage" | "stage+layer":
                return f"{self.backbone}.stage{slot.stage}"
            case "block":
                return f"{self.backbone}.stage{slot.stage}.block{slot.block}"
            case "layer":
                return f"{self.backbone}.{slot.name}"

    def _step_name(self, slot: Slot) -> str:
        return f"{self.backbone}.{slot.name}.step"


def _center(indices: Sequence[int]) -> int:
    lowest, highest = min(indices), max(indices)
    if highest - lowest >= len(_STEPS) - 1:
        return lowest + 1
    return min((lowest, highest), key=lambda index: (-indices.count(index), index))
