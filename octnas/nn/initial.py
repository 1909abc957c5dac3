"""Fresh weights, as torchvision draws those of each family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import nn

from octnas.backbones import Add, Conv, Excite, LayerTable, Norm
from octnas.backbones.mobilenet import MOBILENETS_V1, MOBILENETS_V2
from octnas.backbones.video import CLIP_RESNETS
from octnas.nn.norm import OctaveNorm
from octnas.nn.octconv import OctaveConv

__all__ = ["initialise", "residual_ends"]

_SMALL_HEADS = {*MOBILENETS_V1, *MOBILENETS_V2, *CLIP_RESNETS}
"""Families whose classifier begins near zero."""


def initialise(network: nn.Module, table: LayerTable, *, zero_init_residual: bool) -> None:
    """He initialisation of all convolutions, 1 and 0 for normalisation.

    By fan-out, and by fan-in where normalisation comes before the convolution (DenseNet).

    Args:
        zero_init_residual: begin the last normalisation of every residual body at 0.
    """
    mode: Literal["fan_in", "fan_out"]
    mode = "fan_in" if any(isinstance(node, Norm) for node in table.nodes) else "fan_out"
    for module in network.modules():
        if isinstance(module, OctaveConv):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
        elif isinstance(module, OctaveNorm | nn.Linear):
            module.reset_parameters()
    head = network.get_submodule(table.nodes[-1].name)
    assert isinstance(head, nn.Linear)
    if table.backbone in _SMALL_HEADS:
        nn.init.normal_(head.weight, 0, 0.01)
        nn.init.zeros_(head.bias)
    elif mode == "fan_in":
        nn.init.zeros_(head.bias)
    if zero_init_residual:
        for name in residual_ends(table).values():
            nn.init.zeros_(network.get_parameter(f"{name}.weight"))


def residual_ends(table: LayerTable) -> Mapping[str, str]:
    """For each residual sum the last normalisation of its body."""
    nodes = {node.name: node for node in table.nodes}
    ends: dict[str, str] = {}
    for node in table.nodes:
        if isinstance(node, Add):
            last = nodes[node.reads[0]]
            if isinstance(last, Excite):
                last = nodes[last.reads]
            assert isinstance(last, Conv)
            assert last.norm is not None
            ends[node.name] = last.norm
    return ends
