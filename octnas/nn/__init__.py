"""Octave modules in torch and the networks that are built of them."""

from __future__ import annotations

from octnas.nn.build import build
from octnas.nn.calls import Call
from octnas.nn.converted import ConvertedNetwork
from octnas.nn.inflate import inflate
from octnas.nn.maps import repartition
from octnas.nn.network import OctaveNetwork
from octnas.nn.norm import OctBatchNorm2d, OctBatchNorm3d
from octnas.nn.octconv import OctConv2d, OctConv3d

__all__ = [
    "Call",
    "ConvertedNetwork",
    "OctBatchNorm2d",
    "OctBatchNorm3d",
    "OctConv2d",
    "OctConv3d",
    "OctaveNetwork",
    "build",
    "inflate",
    "repartition",
]
