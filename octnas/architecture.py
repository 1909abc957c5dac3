"""Architecture: the one value that travels between search, cost, training, tracking and export.

It says which backbone, how its plain layers downsample, and how many channels of each searched
convolution live one octave lower. Integers decide; alphas that give the same integers are the same
architecture. This module is the one place where an alpha becomes an integer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal, get_args

from octnas.backbones import LayerTable, Slot, Stem, default_input, dims_of, layer_table
from octnas.errors import ArchitectureError, unknown_name

__all__ = ["SCHEMA_VERSION", "Alpha", "Architecture", "Downsample", "low_channels"]

SCHEMA_VERSION = 1
Downsample = Literal["strided", "pooled"]
Alpha = float | int | str | Fraction

MAX_LISTED_STEPS = 8
"""How finely an error lists the alphas that a grouped layer allows, before it states the step alone."""

_KEYS = ("schema_version", "backbone", "width", "stem", "downsample", "low_channels")


def low_channels(alpha: Alpha, channels: int) -> int:
    """floor(alpha * channels) in exact rationals: 0.29 of 100 channels is 29 although floats say 28.99.

    A float is read as the decimal number that it prints as.
    """
    try:
        share = alpha if isinstance(alpha, Fraction) else Fraction(str(alpha))
    except (ValueError, ZeroDivisionError):
        raise ArchitectureError(f"`alpha` must be a number between 0 and 1, but got {alpha!r}") from None
    if not 0 <= share <= 1:
        raise ArchitectureError(f"`0 <= alpha <= 1` must hold, but got alpha={alpha}")
    return int(share * channels)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A backbone and the integer low channels of every searched convolution.

    `low_channels[i]` belongs to slot i of the backbone's layer table; a shortcut convolution has the low
    channels of its block's output and the stem is never split; on either side of a grouped convolution it is
    a multiple of the groups. `width` is the number of channels of a ResNet's first stage, and in proportion
    everywhere (64: the published network). `downsample` says what a layer with stride 2 and no low
    channels does: stride, or average-pool and convolve; octave layers always pool.
    """

    backbone: str
    low_channels: tuple[int, ...]
    downsample: Downsample = "strided"
    width: int = 64
    stem: Stem = "imagenet"

    def __post_init__(self) -> None:
        if self.downsample not in get_args(Downsample):
            raise unknown_name("downsample", str(self.downsample), get_args(Downsample))
        if self.stem not in get_args(Stem):
            raise unknown_name("stem", str(self.stem), get_args(Stem))
        if not (isinstance(self.width, int) and self.width >= 1):
            raise ArchitectureError(
                f"`width` must be a whole number of 1 or more channels, but got {self.width!r}"
            )
        slots = self.table().slots
        if len(self.low_channels) != len(slots):
            raise ArchitectureError(
                f"{self.backbone} has {len(slots)} searched convolutions, "
                f"but `low_channels` has {len(self.low_channels)} entries"
            )
        for slot, low in zip(slots, self.low_channels, strict=True):
            if not (isinstance(low, int) and not isinstance(low, bool) and 0 <= low <= slot.channels):
                raise ArchitectureError(
                    f"`0 <= low <= {slot.channels}` must hold at {slot.name} of {self.backbone}, "
                    f"but got {low!r}"
                )
            if low % slot.multiple:
                raise ArchitectureError(
                    f"low channels must be a multiple of the {slot.multiple} groups at {slot.name} of "
                    f"{self.backbone}, but got {low} of {slot.channels}: "
                    f"allowed alphas there are {_allowed(slot)}"
                )

    @classmethod
    def uniform(
        cls,
        backbone: str,
        *,
        alpha: Alpha,
        input_size: int | None = None,
        downsample: Downsample = "strided",
        width: int = 64,
        stem: Stem = "imagenet",
    ) -> Architecture:
        """One alpha for the whole network, as in the paper.

        `input_size` is the side in px of the input that the network is meant for (by default the backbone's,
        or 32 with the small-image stem): blocks whose low map would be smaller than 4 px there stay plain.

        Raises:
            ArchitectureError: alpha is not between 0 and 1, or its low channels do not fit the groups of a
                grouped convolution; the message has the alphas that do.
        """
        slots = layer_table(backbone, width=width, stem=stem).slots
        return cls.from_alphas(
            backbone,
            alphas=[alpha] * len(slots),
            input_size=input_size,
            downsample=downsample,
            width=width,
            stem=stem,
        )

    @classmethod
    def from_alphas(
        cls,
        backbone: str,
        *,
        alphas: Sequence[Alpha],
        input_size: int | None = None,
        downsample: Downsample = "strided",
        width: int = 64,
        stem: Stem = "imagenet",
    ) -> Architecture:
        """One alpha for each slot of the layer table, in its order; see `uniform` for `input_size`."""
        if stem not in get_args(Stem):
            raise unknown_name("stem", str(stem), get_args(Stem))
        table = layer_table(backbone, width=width, stem=stem)
        if len(alphas) != len(table.slots):
            raise ArchitectureError(
                f"{backbone} has {len(table.slots)} searched convolutions, but got {len(alphas)} alphas"
            )
        allowed = table.octave_slots(default_input(backbone, stem)[-1] if input_size is None else input_size)
        lows = tuple(
            low_channels(alpha, slot.channels) if octave else 0
            for alpha, slot, octave in zip(alphas, table.slots, allowed, strict=True)
        )
        return cls(backbone=backbone, low_channels=lows, downsample=downsample, width=width, stem=stem)

    def table(self, *, in_channels: int = 3, num_classes: int = 1000) -> LayerTable:
        """The backbone's layer table at this width and stem."""
        return layer_table(
            self.backbone, width=self.width, stem=self.stem, in_channels=in_channels, num_classes=num_classes
        )

    def rescaled(self, *, width: int, stem: Stem) -> Architecture:
        """The same shares at another width and stem, for instance the proxy of a target.

        Raises:
            ArchitectureError: the low channels would not be whole numbers.
        """
        there = layer_table(self.backbone, width=width, stem=stem).slots
        if len(there) != len(self.low_channels):
            raise ArchitectureError(
                f"{self.backbone} must have the same layers at every width, but has {len(self.low_channels)} "
                f"searched convolutions at width={self.width} and {len(there)} at width={width}"
            )
        lows = []
        for slot, other, low in zip(self.table().slots, there, self.low_channels, strict=True):
            # as the channels go, which in a user's network need not be as the width
            scaled = Fraction(low * other.channels, slot.channels)
            if scaled.denominator != 1:
                raise ArchitectureError(
                    f"low channels x width / {self.width} must be whole, but {slot.name} has {low} "
                    f"low channels and width={width}: choose another width or another alpha"
                )
            lows.append(int(scaled))
        return Architecture(
            backbone=self.backbone,
            low_channels=tuple(lows),
            downsample=self.downsample,
            width=width,
            stem=stem,
        )

    @property
    def alphas(self) -> tuple[float, ...]:
        """The share of low channels of each slot, for show."""
        return tuple(
            low / slot.channels for low, slot in zip(self.low_channels, self.table().slots, strict=True)
        )

    def input_shape(self, shape: Sequence[int] | None = None) -> tuple[int, ...]:
        """(channels, H, W), or (channels, T, H, W) for a clip: `shape`, or None for the backbone's usual one.

        Raises:
            ArchitectureError: an image for a 3D backbone, or a number that is not a whole one of 1 or more.
        """
        usual = default_input(self.backbone, self.stem)
        if shape is None:
            return usual
        found = tuple(shape)
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in found)
        if whole and len(found) in ((3, 4) if self.dims == 2 else (4,)):
            return found
        law = "(channels, frames, height, width)"
        if self.dims == 2:
            law = f"(channels, height, width) or {law}"
        raise ArchitectureError(
            f"`input_shape` must be {law} in whole numbers of 1 or more for the {self.dims}D backbone "
            f"{self.backbone}, but got {found}: give {'x'.join(map(str, usual))}, for instance"
        )

    @property
    def dims(self) -> Literal[2, 3]:
        """Dimensions of the convolutions: 2 for images, 3 for clips and volumes."""
        return dims_of(self.backbone)

    @cached_property
    def digest(self) -> str:
        """A short name that is equal for equal architectures: 12 hexadecimal digits of SHA-256."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """One line of JSON; equal architectures give equal text."""
        value = {
            "schema_version": SCHEMA_VERSION,
            "backbone": self.backbone,
            "width": self.width,
            "stem": self.stem,
            "downsample": self.downsample,
            "low_channels": list(self.low_channels),
        }
        return json.dumps(value, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """The architecture that `to_json` wrote.

        Raises:
            ArchitectureError: the text is not JSON, lacks a key, has an unknown one, or another version.
        """
        try:
            value: Any = json.loads(text)
        except json.JSONDecodeError as error:
            raise ArchitectureError(
                f"an architecture must be JSON, but line {error.lineno} has: {error.msg}"
            ) from None
        if not isinstance(value, dict):
            raise ArchitectureError(f"an architecture must be a JSON object, but got {type(value).__name__}")
        for key in value:
            if key not in _KEYS:
                raise unknown_name("architecture key", str(key), _KEYS)
        version = value.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise ArchitectureError(f"`schema_version` must be {SCHEMA_VERSION}, but got {version!r}")
        for key in ("backbone", "low_channels"):
            if key not in value:
                raise ArchitectureError(f"an architecture must have the key {key!r}; got {sorted(value)}")
        if not isinstance(value["low_channels"], list) or not isinstance(value["backbone"], str):
            raise ArchitectureError("`backbone` must be a string and `low_channels` a list of whole numbers")
        return cls(**{**value, "low_channels": tuple(value["low_channels"])})


def _allowed(slot: Slot) -> str:
    """The alphas at which a slot has a multiple of its groups, in words."""
    steps = slot.channels // slot.multiple
    if steps > MAX_LISTED_STEPS:
        return f"the multiples of {1 / steps:g}"
    return ", ".join(f"{step / steps:g}" for step in range(steps + 1))
