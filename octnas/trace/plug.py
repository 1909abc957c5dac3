"""`octnas.convert`: a user's network, as it stands, with octaves where they fit."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from octnas.architecture import Alpha, Architecture, Downsample
from octnas.backbones import Plain
from octnas.costs import cost
from octnas.errors import ArchitectureError, ConversionError
from octnas.nn.converted import ConvertedNetwork, stage_ends
from octnas.trace.adhoc import named, remember
from octnas.trace.measure import faked
from octnas.trace.reading import traced, usual_input
from octnas.trace.symbolic import is_marked
from octnas.trace.table import TracedTable

__all__ = ["check_cost", "convert", "stays_plain"]

SIDES = (224, 112, 32)
"""Sides in px that are tried, in this order, where none is given."""


def convert(
    model: nn.Module,
    alpha: Alpha | None = None,
    *,
    architecture: Architecture | None = None,
    input_shape: Sequence[int] | None = None,
    downsample: Downsample = "strided",
    features_only: bool = False,
) -> ConvertedNetwork:
    """A network with octave convolutions in the place of a user's, on a copy of their weights.

    Convolutions over two or three dimensions (grouped, depthwise and dilated ones too), batch-norm,
    activations, pooling, sums, concatenations, squeeze-and-excite and global pooling run on two octaves.
    Everything else stays as it is, reads its maps at full resolution, and is listed by `stays_plain`. At
    alpha 0 the network equals `model`; at any alpha it takes the state dict of `model`, and gives one.

    Args:
        model: is not changed. It must be traceable by torch.fx (`octnas.plain` keeps what is not).
        alpha: share of low channels of every convolution that can be split, between 0 and 1 (default 0);
            stages whose low maps would be smaller than 4 px a side at `input_shape` stay plain.
        architecture: in place of `alpha`, low channels for each convolution: of
            `convert(model).architecture`, or of a search over a factory that makes such a network.
        input_shape: (C, H, W) or (C, T, H, W) of an input that it is meant for; by default 224 px (16
            frames), or less where it cannot take that, and the channels of the first convolution. Other sizes
            work too.
        downsample: what layers with stride 2 and no low channels do; "strided" as in `model`.
        features_only: return the last map of each stage at full resolution, for a decoder of the user's.

    Raises:
        ConversionError: the network cannot be read; one line that names the layer and the remedy.
        ArchitectureError: low channels that do not fit the network.
    """
    if not isinstance(model, nn.Module):
        raise ConversionError(f"`model` must be a torch.nn.Module, but got {type(model).__name__}")
    if alpha is not None and architecture is not None:
        raise ArchitectureError("give `alpha` or `architecture`, not both")
    table = _table(model, input_shape)
    if features_only:
        table = _with_features(table)
    if architecture is None:
        table = replace(table, backbone=named(table, type(model).__name__))
        remember(table)
        architecture = Architecture.from_alphas(
            table.backbone,
            alphas=[0 if alpha is None else alpha] * len(table.slots),
            input_size=min(table.input_shape[-2:]),
            downsample=downsample,
        )
    else:
        table = replace(table, backbone=architecture.backbone)
        _check_fits(architecture, table)
    network = ConvertedNetwork(architecture, table=table, source=copy.deepcopy(model), features=features_only)
    check_cost(network)
    return network


def stays_plain(network: ConvertedNetwork) -> list[dict[str, str]]:
    """What was not converted: each with its `name`, `what` it is, `why`, and `where` in the user's code.

    In the order of execution ("net.py:31"); then what runs in training alone, and so not at all.
    """
    plain = [
        {"name": node.name, "what": node.what, "why": node.why, "where": node.where}
        for node in network.table.nodes
        if isinstance(node, Plain) and node.why is not None
    ]
    others = [
        {"name": each.name, "what": each.what, "why": each.why, "where": each.where}
        for each in network.table.left_out
    ]
    return plain + others


def _table(model: nn.Module, input_shape: Sequence[int] | None) -> TracedTable:
    name = type(model).__name__
    if input_shape is not None:
        return traced(model, name=name, input_shape=input_shape)
    first: ConversionError | None = None
    for side in SIDES:
        try:
            return traced(model, name=name, input_shape=usual_input(model, side=side))
        except ConversionError as error:
            first = first or error
    assert first is not None
    raise first


def _with_features(table: TracedTable) -> TracedTable:
    """The table up to the last map that is returned."""
    ends = stage_ends(table)
    if not ends:
        raise ConversionError(f"{table.backbone} has no layer that could be split, and so no stage")
    last = max(i for i, node in enumerate(table.nodes) if node.name in ends)
    return table.truncated(table.nodes[: last + 1])


def _check_fits(architecture: Architecture, table: TracedTable) -> None:
    wanted = [(slot.name, slot.channels) for slot in table.slots]
    theirs = [(slot.name, slot.channels) for slot in architecture.table().slots]
    for one, other in zip(wanted, theirs, strict=False):
        if one != other:
            raise ArchitectureError(
                f"`architecture` must be of a network like this one, but where this has {one[0]} with "
                f"{one[1]} channels, {architecture.backbone} has {other[0]} with {other[1]}"
            )
    if len(wanted) != len(theirs):
        raise ArchitectureError(
            f"`architecture` must be of a network like this one, with {len(wanted)} convolutions that can be "
            f"split, but {architecture.backbone} has {len(theirs)}"
        )


def check_cost(network: ConvertedNetwork) -> None:
    """Sets the closed form beside PyTorch's counter, on the network as it was made, at its usual input.

    Raises:
        ConversionError: they differ, which is a fault of octnas.
    """
    table = network.table
    assert isinstance(table, TracedTable)
    if any(is_marked(module) for module in network.modules()):
        return  # what they compute may depend on numbers, which fake tensors have not
    mode = FakeTensorMode()
    counted_on = faked(network, mode).eval()
    with mode, torch.no_grad(), FlopCounterMode(display=False) as counter:
        counted_on(torch.empty(1, *table.input_shape))
    counted = int(counter.get_total_flops()) // 2
    closed = cost(network.architecture, table.input_shape, max(1, table.num_classes)).macs
    if counted != closed:
        raise ConversionError(
            f"octnas counts {closed} multiply-adds of {table.backbone} where PyTorch counts {counted}: "
            "this is a fault of octnas, please report it with the network"
        )
