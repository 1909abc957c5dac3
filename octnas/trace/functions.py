"""Which functions, methods and modules of PyTorch mean what for a map of two octaves."""

from __future__ import annotations

import inspect
import operator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import fx, nn

from octnas.backbones import Activation

__all__ = [
    "ADDS",
    "CONCATENATES",
    "IN_PLACE",
    "MULTIPLIES",
    "PARTS",
    "RESHAPES",
    "SIZES",
    "VIEWS",
    "activation_of",
    "arguments",
    "called",
    "is_elementwise",
    "is_told",
]

ADDS = {operator.add, operator.iadd, torch.add, "add", "add_"}
MULTIPLIES = {operator.mul, operator.imul, torch.mul, torch.multiply, "mul", "mul_"}
CONCATENATES = {torch.cat, torch.concat, torch.concatenate}
SIZES = {"size", "dim", "numel"}
RESHAPES = {"view", "reshape", "flatten", "unflatten", torch.reshape, torch.flatten, torch.unflatten}
VIEWS = RESHAPES | {
    operator.getitem,
    "chunk",
    "split",
    "permute",
    "transpose",
    "squeeze",
    "unsqueeze",
    "narrow",
    torch.chunk,
    torch.split,
    torch.permute,
    torch.transpose,
    torch.squeeze,
    torch.unsqueeze,
    torch.narrow,
}
PARTS = VIEWS - {"flatten", torch.flatten, "unflatten", torch.unflatten}
"""Of a map: what octaves cannot follow."""
IN_PLACE = {operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.setitem}

_ACTIVATIONS: dict[Any, Activation] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.SiLU: "silu",
    nn.Hardswish: "hardswish",
    F.relu: "relu",
    F.relu_: "relu",
    torch.relu: "relu",
    torch.relu_: "relu",
    "relu": "relu",
    "relu_": "relu",
    F.relu6: "relu6",
    F.silu: "silu",
    F.hardswish: "hardswish",
}
_ELEMENTWISE_MODULES = {
    *(kind for kind in _ACTIVATIONS if isinstance(kind, type)),
    nn.AlphaDropout,
    nn.CELU,
    nn.Dropout,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.ELU,
    nn.FeatureAlphaDropout,
    nn.GELU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.SELU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
}
_DROPS = {F.dropout, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}
_ELEMENTWISE_CALLS = {
    *(call for call in _ACTIVATIONS if not isinstance(call, type)),
    *_DROPS,
    F.celu,
    F.elu,
    F.gelu,
    F.hardsigmoid,
    F.hardtanh,
    F.leaky_relu,
    F.logsigmoid,
    F.mish,
    F.selu,
    F.softplus,
    F.softsign,
    F.tanh,
    F.sigmoid,
    operator.neg,
    operator.pow,
    operator.sub,
    operator.truediv,
    torch.abs,
    torch.clamp,
    torch.exp,
    torch.neg,
    torch.pow,
    torch.sigmoid,
    torch.sqrt,
    torch.square,
    torch.tanh,
    "abs",
    "clamp",
    "clone",
    "contiguous",
    "div",
    "double",
    "exp",
    "float",
    "half",
    "neg",
    "pow",
    "sigmoid",
    "sqrt",
    "square",
    "sub",
    "tanh",
}


def called(node: fx.Node, modules: dict[str, nn.Module]) -> Any:
    """What a node calls: a module, a function, or a method's name."""
    return modules[str(node.target)] if node.op == "call_module" else node.target


def activation_of(node: fx.Node, modules: dict[str, nn.Module]) -> Activation | None:
    """The activation that a node is, where layers can have it inside."""
    what = called(node, modules)
    if node.op == "call_module":
        return _ACTIVATIONS.get(type(what))
    if node.op not in ("call_function", "call_method") or len(node.args) != 1:
        return None
    return _ACTIVATIONS.get(what)


def is_told(node: fx.Node) -> bool:
    """Whether a node is a function that `training` tells what to do: dropout, batch-norm."""
    return node.op == "call_function" and node.target in {*_DROPS, F.batch_norm}


def arguments(node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call, `training` by its name where that is one of them."""
    if not is_told(node):
        return node.args, dict(node.kwargs)
    names = list(inspect.signature(cast(Any, node.target)).parameters)
    place = names.index("training")
    named = {**dict(zip(names[place:], node.args[place:], strict=False)), **node.kwargs}
    return node.args[:place], named


def is_elementwise(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a node makes of each element of its first argument one by itself, with numbers besides."""
    if len(node.all_input_nodes) != 1 or not node.args or not isinstance(node.args[0], fx.Node | int | float):
        return False
    what = called(node, modules)
    if node.op == "call_module":
        return type(what) in _ELEMENTWISE_MODULES or (type(what) is nn.PReLU and what.num_parameters == 1)
    arithmetic: set[Any] = ADDS | MULTIPLIES
    if what in arithmetic:
        return all(isinstance(arg, fx.Node | int | float) for arg in node.args)
    return what in _ELEMENTWISE_CALLS and isinstance(node.args[0], fx.Node)
