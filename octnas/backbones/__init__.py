"""Backbones as layer tables. Nothing here imports a tensor library."""

from __future__ import annotations

from octnas.backbones.families import Family, default_input, dims_of, family_of, layer_table, names
from octnas.backbones.table import (
    Activation,
    Add,
    Concat,
    Conv,
    Dims,
    Excite,
    Head,
    LayerTable,
    Node,
    Norm,
    Pool,
    Segment,
    Slot,
    Stem,
)

__all__ = [
    "Activation",
    "Add",
    "Concat",
    "Conv",
    "Dims",
    "Excite",
    "Family",
    "Head",
    "LayerTable",
    "Node",
    "Norm",
    "Pool",
    "Segment",
    "Slot",
    "Stem",
    "default_input",
    "dims_of",
    "family_of",
    "layer_table",
    "names",
]
