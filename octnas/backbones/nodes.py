"""The nodes of a layer table: what a layer is, which maps it reads, and where it stands in the backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Activation",
    "Add",
    "Concat",
    "Conv",
    "Dims",
    "Elementwise",
    "Excite",
    "Gate",
    "Head",
    "LeftOut",
    "Node",
    "Norm",
    "Plain",
    "Pool",
    "Squeeze",
]

Dims = Literal[2, 3]
Activation = Literal["relu", "relu6", "silu", "hardswish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """A convolution, and the normalisation and activation that follow it.

    `name` and `norm` are the module paths of torchvision's state dict; `stage` is 0 for the stem. `slot` is
    None where the output is never split. Kernels are (kernel_time x) kernel x kernel.
    """

    name: str
    norm: str | None
    """None where no normalisation follows."""
    reads: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    """Over height and width."""
    kernel_time: int = 1
    stride_time: int = 1
    dilation: int = 1
    """Over height and width."""
    dilation_time: int = 1
    groups: int = 1
    layout: int = 1
    """Groups of the output map's layout: those of the grouped convolution that it touches on either side."""
    activation: Activation | None = "relu"
    stage: int
    block: int
    slot: int | None
    shortcut: bool = False

    @property
    def padding(self) -> int:
        """The padding that keeps the size at stride 1 and gives ceil(size / 2) at stride 2."""
        return self.dilation * (self.kernel // 2)

    @property
    def padding_time(self) -> int:
        """The same over time."""
        return self.dilation_time * (self.kernel_time // 2)

    @property
    def depthwise(self) -> bool:
        """One channel a group: no path crosses; the input is repartitioned to the output's low channels."""
        return 1 < self.groups == self.in_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """A normalisation by itself, with its activation: what comes before a convolution in a DenseNet."""

    name: str
    reads: str
    channels: int
    activation: Activation | None = "relu"
    stage: int
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Maximum or average over windows, of each branch by itself.

    The side becomes ceil(side / stride), or floor of it for an average with `floor`, as torchvision has it
    where a window would hang over the border. Over time: windows of `kernel_time`, none of them padded,
    ceil(T / stride_time) of them. What a user's network pools otherwise is said by `padding_time`, `ceil` and
    `counts_padding`, with PyTorch's meanings, and its sizes are PyTorch's.
    """

    name: str
    reads: str
    how: Literal["max", "average"]
    kernel: int
    stride: int
    padding: int = 0
    kernel_time: int = 1
    stride_time: int = 1
    padding_time: int = 0
    floor: bool = False
    ceil: bool | None = None
    """Of a user's network: whether windows may hang over the border (`ceil_mode`); None: a built-in one."""
    counts_padding: bool = True
    """Of a user's network: whether an average counts the zeros of the padding (`count_include_pad`)."""
    stage: int = 0
    block: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """The residual sum of a block. `reads[0]` is the body, `reads[1]` the shortcut."""

    name: str
    reads: tuple[str, str]
    activation: Activation | None = "relu"
    stage: int
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat:
    """Concatenation of channels: the segments of all maps read, in their order; they have one size."""

    name: str
    reads: tuple[str, ...]
    stage: int
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Excite:
    """Squeeze and excitation (Hu et al. 2018): both branches' means, in channel order, through two fully
    connected layers (`NAME.fc1`, ReLU, `NAME.fc2`, sigmoid) to one factor a channel."""

    name: str
    reads: str
    channels: int
    squeezed: int
    """Channels between the two layers."""
    stage: int
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise:
    """A function of each element by itself, of both branches: an activation that no layer has inside, a
    product with a number, dropout. Of a user's network."""

    name: str
    reads: str
    what: str
    """The function, for tables: "gelu"."""
    stage: int
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeeze:
    """Global averages (over time too): of a map of two branches one number a channel, in channel order."""

    name: str
    reads: str
    channels: int
    keeps: bool
    """Whether height, width (and time) stay, as 1: (B, C, 1, 1) and not (B, C)."""
    stage: int
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A map times, or plus, one number a channel (`reads[1]`, never split): the end of squeeze and excite, a
    layer's scale. Of a user's network."""

    name: str
    reads: tuple[str, str]
    what: Literal["times", "plus"]
    stage: int
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """What no octave layer stands for, as it is in a user's network: it reads maps at full resolution, and
    what it gives is never split. Its cost at a size is `LayerTable.plain_macs`."""

    name: str
    reads: tuple[str, ...]
    what: str
    """The module's class or the function: "LayerNorm", "chunk"."""
    why: str | None
    """Why it stays plain; None where there is nothing to split: on vectors, and on numbers."""
    where: str
    """File and line of the call in the user's code: "net.py:31"; "" where it has none."""
    channels: int
    """Of the output; 0 where that is no map and no vector."""
    lifts: bool = False
    """Whether it reads a map that could be split, which is put back to full resolution for it."""
    sizes_only: bool = False
    """Whether it only asks for the shape of what it reads, so that nothing is put back for it."""
    stage: int
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What a user's network has or does that is no part of its table: it runs in training alone."""

    name: str
    what: str
    """The module's class or the function."""
    why: str
    where: str = ""
    """File and line in the user's code, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Global average pooling (over time too) and one fully connected layer."""

    name: str
    reads: str
    in_channels: int
    out_channels: int


Node = Conv | Norm | Pool | Add | Concat | Excite | Elementwise | Squeeze | Gate | Plain | Head
