"""The layers of a user's network as they are recognised, before it is known what may be split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import fx, nn

from octnas.backbones import Activation
from octnas.nn.calls import Call

__all__ = ["Draft", "Kind", "chain_back"]

Kind = Literal[
    "input", "conv", "norm", "pool", "add", "concat", "elementwise", "squeeze", "gate", "plain", "output"
]


@dataclass(eq=False, slots=True, kw_only=True)
class Draft:
    """A node of the layer table in the making."""

    kind: Kind
    name: str
    first: fx.Node
    """The call that it stands for."""
    last: fx.Node
    """The call whose value it gives: that of its activation, where it has one inside."""
    reads: list[Draft] = field(default_factory=list)
    readers: list[Draft] = field(default_factory=list)
    module: nn.Module | None = None
    norm: str | None = None
    """Path of the batch-norm behind a convolution."""
    activation: Activation | None = None
    what: str = ""
    why: str | None = None
    """Why it stays plain."""
    call: Call | None = None
    pool: dict[str, Any] = field(default_factory=dict)
    """Fields of a `Pool`."""
    is_map: bool = True
    """Whether it gives a map that could be split: (B, C, H, W) of more than one pixel."""
    sizes_only: bool = False
    scope: str = ""
    """Path of the module whose code makes the call."""
    splits: bool = False
    """Of a convolution: whether its output may be split."""
    layout: int = 1
    shortcut_of: Draft | None = None
    """Of a convolution: the one that owns the slot of the sum that both go into."""

    @property
    def passes(self) -> bool:
        """Whether its output has the channels of what it reads, split as they are."""
        return self.kind in ("norm", "pool", "elementwise", "gate")


def chain_back(draft: Draft) -> Iterator[Draft]:
    """A draft, and what it gets its channels from, as long as that is one map."""
    yield draft
    while draft.passes:
        draft = draft.reads[0]
        yield draft
