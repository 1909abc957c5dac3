"""What is refused in a user's network, before or after it is traced: each with the layer's name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from octnas.errors import ConversionError
from octnas.trace.functions import IN_PLACE, RESHAPES, VIEWS, called
from octnas.trace.symbolic import path_of, where_of

__all__ = ["refuse_in_place", "refuse_layers", "refuse_mixing", "refuse_shared"]

Shape = tuple[int, ...]


def refuse_layers(module: nn.Module) -> None:
    """Refuses layers whose weights are not what they compute with: parametrised, quantised, scripted."""
    if isinstance(module, torch.jit.ScriptModule):
        raise ConversionError(
            "the network is a TorchScript module, whose code cannot be traced: give the nn.Module itself"
        )
    for path, each in module.named_modules():
        name = path or type(module).__name__
        if parametrize.is_parametrized(each):
            raise ConversionError(
                f"{name} is parametrised, so that its weight is computed from others: remove that before the "
                "conversion (torch.nn.utils.parametrize.remove_parametrizations)"
            )
        if _is_quantised(each):
            raise ConversionError(
                f"{name} is quantised ({type(each).__name__}): convert the floating-point network, and "
                "quantise what is exported"
            )
        is_layer = isinstance(each, _ConvNd | _BatchNorm)
        if is_layer and (each._forward_pre_hooks or each._forward_hooks):
            raise ConversionError(
                f"{name} has forward hooks, as the old weight_norm and spectral_norm set them, which would "
                "not run: remove them before the conversion"
            )


def refuse_shared(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> None:
    """Refuses convolutions and normalisations that stand at two places: each place has its own octaves."""
    called_at: dict[int, str] = {}
    weights: dict[int, str] = {}
    for node in graph.nodes:
        if node.op != "call_module":
            continue
        module, path = modules[str(node.target)], str(node.target)
        if not isinstance(module, _ConvNd | _BatchNorm):
            continue
        kind = "convolution" if isinstance(module, _ConvNd) else "normalisation"
        if id(module) in called_at:
            other = called_at[id(module)]
            places = (
                f"twice, the second time at {where_of(node) or path}" if other == path else f"as {other} too"
            )
            raise ConversionError(
                f"the {kind} {path} is used {places}: each use needs low channels of its own; make one "
                "module for each"
            )
        called_at[id(module)] = path
        if module.weight is not None:
            other = weights.setdefault(id(module.weight), path)
            if other != path:
                raise ConversionError(
                    f"the {kind}s {other} and {path} share one weight: each needs low channels of its own; "
                    "give each a weight"
                )


def refuse_in_place(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> None:
    """Refuses writing in place to a value that is read elsewhere too: the order would decide what is read."""
    for node in graph.nodes:
        if not _writes(node, modules) or not node.all_input_nodes:
            continue
        written = node.all_input_nodes[0]
        while True:
            others = [user for user in written.users if user is not node and not _takes_part(user)]
            if others:
                raise ConversionError(
                    f"{path_of(node)}{_at(node)} works in place on a value that {path_of(others[0])}"
                    f"{_at(others[0])} reads too: use its result instead, or work out of place"
                )
            if not _is_view(written, modules) or not written.all_input_nodes:
                break
            node, written = written, written.all_input_nodes[0]


def refuse_mixing(node: fx.Node, modules: dict[str, nn.Module], before: Shape, after: Shape) -> None:
    """Refuses a reshape of a map (1, C, ..., H, W) that makes one dimension of channels and of pixels.

    One vector for each image, (1, N), is what a classifier reads, and is allowed.
    """
    what = called(node, modules)
    if isinstance(what, nn.Flatten | nn.Unflatten):
        what = "flatten"
    if what not in RESHAPES or len(after) <= 2 or len(before) < 4:
        return
    pixels = math.prod(before[2:])
    if pixels == 1 or _keeps_apart(before, after):
        return
    raise ConversionError(
        f"{path_of(node)}{_at(node)} reshapes {_by(before)} to {_by(after)}, which mixes channels with "
        "space, and an octave is one of space: put it into a module, and mark that with octnas.plain(module)"
    )


def _keeps_apart(before: Shape, after: Shape) -> bool:
    """Whether some of the new dimensions, from the second on, are made of the channels alone."""
    product = 1
    for side in after[1:]:
        if product == before[1]:
            return True
        product *= side
    return product == before[1]


def _writes(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    if node.kwargs.get("inplace") is True:
        return True
    if node.op == "call_method":
        name = str(node.target)
        return name.endswith("_") and not name.endswith("__")
    if node.op != "call_function":
        return False
    name = getattr(node.target, "__name__", "")
    return node.target in IN_PLACE or (name.endswith("_") and not name.endswith("__"))


def _is_view(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a value may be a part of what it is made of, and not a copy."""
    if node.op == "call_module":
        aliases = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout2d, nn.Dropout3d)
        return isinstance(modules[str(node.target)], aliases)
    return node.op in ("call_function", "call_method") and node.target in VIEWS


def _takes_part(user: fx.Node) -> bool:
    """Whether a reader takes another part of the value than is written to, or its shape alone."""
    names = ("chunk", "split", "unbind", "getitem", "size", "dim", "getattr")
    name = user.target if isinstance(user.target, str) else getattr(user.target, "__name__", "")
    return user.op in ("call_function", "call_method") and name in names


def _is_quantised(module: nn.Module) -> bool:
    home: Any = type(module).__module__
    return (
        "quantized" in home
        or home.startswith(("torch.ao.nn.qat", "torch.ao.quantization"))
        or hasattr(module, "_packed_params")
    )


def _at(node: fx.Node) -> str:
    return f" ({where_of(node)})" if where_of(node) else ""


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape))
