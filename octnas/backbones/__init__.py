"""Backbones as layer tables. Nothing here imports a tensor library."""

from __future__ import annotations

from octnas.backbones.families import (
    Family,
    default_input,
    dims_of,
    family_of,
    find_elsewhere,
    is_users,
    layer_table,
    names,
)
from octnas.backbones.nodes import (
    Activation,
    Add,
    Concat,
    Conv,
    Dims,
    Elementwise,
    Excite,
    Gate,
    Head,
    LeftOut,
    Node,
    Norm,
    Plain,
    Pool,
    Squeeze,
)
from octnas.backbones.table import LayerTable, Segment, Slot, Stem

__all__ = [
    "Activation",
    "Add",
    "Concat",
    "Conv",
    "Dims",
    "Elementwise",
    "Excite",
    "Family",
    "Gate",
    "Head",
    "LayerTable",
    "LeftOut",
    "Node",
    "Norm",
    "Plain",
    "Pool",
    "Segment",
    "Slot",
    "Squeeze",
    "Stem",
    "default_input",
    "dims_of",
    "family_of",
    "find_elsewhere",
    "is_users",
    "layer_table",
    "names",
]
