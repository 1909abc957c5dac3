"""The plain operations that a deployed network consists of, and a rule of thumb for what they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from octnas.backbones import Dims

__all__ = ["OP_KINDS", "Op", "OpKind", "Times", "Volume", "built_in_ms", "halved", "map_op"]

OpKind = Literal[
    "conv",
    "pool",
    "rise",
    "concat",
    "sum",
    "add",
    "cut",
    "maxpool",
    "norm",
    "excite",
    "gate",
    "mean",
    "linear",
]
OP_KINDS: tuple[OpKind, ...] = get_args(OpKind)
Volume = tuple[int, int, int]
"""Frames, height and width in px of a map, at the nominal size or at the low one."""


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Op:
    """One plain operation at batch 1, as it is timed.

    Kinds: "conv" (with its bias, and its activation where the runtime fuses it), "pool" (average),
    "rise" (a low map upsampled by 2 and added to a high one), "concat" and "cut" (of channels), "sum" (of two
    maps, inside a convolution), "add" (of two maps, by itself), "maxpool", "norm" (a normalisation and its
    activation; any function of each element), "excite" (the mean over all pixels, and the map multiplied by a
    factor a channel), "gate" (that product by itself), "mean" (over all pixels and frames) and "linear".
    """

    kind: OpKind
    inputs: int
    """Input channels."""
    outputs: int
    """Output channels."""
    height: int
    """Of the output map in px; of the input map for "mean", of the whole map for "cut"."""
    width: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    """Of a convolution; of a "concat", the groups whose channels are joined one by one."""
    dims: Dims = 2
    """2: over (B, C, H, W); 3: over (B, C, T, H, W)."""
    frames: int = 1
    """T of the output map (of the input map for "mean"); of a 2D operation, the images that run together."""
    kernel_time: int = 1
    stride_time: int = 1
    dilation: int = 1
    """Of a convolution, over height and width."""
    dilation_time: int = 1

    @property
    def macs(self) -> int:
        """Multiply-adds; 0 for what neither convolves nor multiplies a matrix."""
        if self.kind not in ("conv", "linear"):
            return 0
        return self.inputs // self.groups * self.outputs * self.taps * self.pixels

    @property
    def taps(self) -> int:
        """Weights of a kernel between one input and one output channel."""
        return self.kernel**2 * self.kernel_time

    @property
    def pixels(self) -> int:
        """Of all frames of the output map (of the input map for "mean")."""
        return self.height * self.width * self.frames

    @property
    def elements(self) -> int:
        """Elements of the output map (of the input map for "mean")."""
        return self.outputs * self.pixels


Times = Callable[[Op], float]
"""Milliseconds of an operation."""


def map_op(
    kind: OpKind,
    inputs: int,
    outputs: int,
    at: Volume,
    *,
    dims: Dims = 2,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    kernel_time: int = 1,
    stride_time: int = 1,
    dilation: int = 1,
    dilation_time: int = 1,
) -> Op:
    """An operation that writes (or, a mean, reads) a map of this many frames and px."""
    return Op(
        kind=kind,
        inputs=inputs,
        outputs=outputs,
        height=at[1],
        width=at[2],
        kernel=kernel,
        stride=stride,
        groups=groups,
        dims=dims,
        frames=at[0],
        kernel_time=kernel_time,
        stride_time=stride_time,
        dilation=dilation,
        dilation_time=dilation_time,
    )


def halved(at: Volume) -> Volume:
    """The low map of a map of this size: an octave is one of space."""
    return at[0], (at[1] + 1) // 2, (at[2] + 1) // 2


def built_in_ms(op: Op) -> float:
    """A rule of thumb in ms where nothing was timed: one core of a processor with 512 bit vectors.

    Convolutions run in blocks of 16 channels at 130 multiply-adds a ns, a fifth slower on maps of 7 px or
    less. Everything else moves its output at 30 bytes a ns; at a quarter of it where that leaves the blocked
    layout, as a cut of channels does and, with channels that are no multiple of 16, concatenation and, far
    worse, pooling. Each operation takes a microsecond or two besides. Only comparisons between the plans of
    one layer are made with it.
    """
    if op.kind in ("conv", "linear"):
        inputs, outputs = op.inputs // op.groups, op.outputs // op.groups
        inputs = inputs if inputs < 16 else -(-inputs // 16) * 16
        macs = op.taps * op.pixels * op.groups * inputs * -(-outputs // 16) * 16
        rate = 130e6 if min(op.height, op.width) > 7 else 105e6
        return 2e-3 + macs / rate
    strays = op.outputs % 16 != 0
    if op.kind == "pool" and strays:
        return 1e-3 + op.elements / 250e3
    copied = op.kind in ("cut", "add", "norm", "excite", "gate")
    copied |= op.kind == "concat" and (strays or op.groups > 1)
    return 1e-3 + op.elements * (16 if copied else 4) / 30e6
