"""Calls of a user's network in its deployed form: copies of what they name, and no map written to.

A call may be made in place in the user's code, where nothing reads its input afterwards. In a deployed
network maps may be one another's memory, so that such a call gets a copy.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from octnas.nn.calls import Call, Ref

__all__ = ["Called", "Holder"]


class Holder(Protocol):
    """A network with modules, parameters and buffers at the paths that calls name."""

    def get_submodule(self, target: str) -> nn.Module: ...


class Called(nn.Module):
    """A call with its own copy of the module, parameter or buffer that it names; in evaluation mode.

    `forward(*values)` takes what the node reads, in that order, and gives what the user's code gives.
    """

    def __init__(self, call: Call, net: Holder) -> None:
        super().__init__()
        self._kind, self._args, self._kwargs = call.kind, call.args, dict(call.kwargs)
        self._target: Any = call.target
        self._copies = _may_write(call)
        if call.trains:
            self._kwargs["training"] = False
        if self._kwargs.get("inplace") is True:
            self._kwargs["inplace"] = False
        match call.kind:
            case "module" | "norm":
                self.module = _still(net.get_submodule(str(call.target)))
                self._copies = not type(self.module).__module__.startswith("torch.nn.")
            case "attribute":
                self._hold(call, net)
            case "method" if call.target == "view" and all(_is_size(arg) for arg in call.args[1:]):
                self._target = "reshape"  # maps may have their channels last, of which there is no view

    def _hold(self, call: Call, net: Holder) -> None:
        path, _, name = str(call.target).rpartition(".")
        value = getattr(net.get_submodule(path), name)
        if isinstance(value, nn.Parameter):
            self.value: Any = nn.Parameter(value.detach().clone(), requires_grad=False)
        elif isinstance(value, Tensor):
            self.register_buffer("value", value.detach().clone())
        else:
            self.value = copy.deepcopy(value)

    def forward(self, *values: Any) -> Any:
        if self._kind == "attribute":
            return self.value
        if self._copies:
            values = tuple(_copy_of(value) for value in values)
        args = [_filled(arg, values) for arg in self._args]
        kwargs = {key: _filled(arg, values) for key, arg in self._kwargs.items()}
        if self._kind == "module":
            return self.module(*args, **kwargs)
        if self._kind == "norm":
            return _BatchNorm.forward(cast(_BatchNorm, self.module), *args)
        if self._kind == "method":
            return getattr(args[0], self._target)(*args[1:], **kwargs)
        return self._target(*args, **kwargs)

    def extra_repr(self) -> str:
        return (
            "" if self._kind in ("module", "norm") else str(getattr(self._target, "__name__", self._target))
        )


def _filled(arg: Any, values: Sequence[Any]) -> Any:
    """An argument with the values that are read in their places."""
    if isinstance(arg, Ref):
        return values[arg.index]
    if isinstance(arg, tuple):
        filled = [_filled(each, values) for each in arg]
        return type(arg)(*filled) if hasattr(arg, "_fields") else tuple(filled)
    if isinstance(arg, list):
        return [_filled(each, values) for each in arg]
    if isinstance(arg, dict):
        return {key: _filled(each, values) for key, each in arg.items()}
    if isinstance(arg, slice):
        return slice(_filled(arg.start, values), _filled(arg.stop, values), _filled(arg.step, values))
    return arg


def _still(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode that writes to nothing that it reads and needs no gradients."""
    still = copy.deepcopy(module).eval().requires_grad_(False)
    for each in still.modules():
        if getattr(each, "inplace", False) is True:
            each.inplace = False  # type: ignore[assignment]
    return still


def _may_write(call: Call) -> bool:
    """Whether a function or method may write to its arguments."""
    if call.kind == "method":
        return _ends_in_place(str(call.target))
    if call.kind != "function":
        return False
    name = str(getattr(call.target, "__name__", ""))
    module = str(getattr(call.target, "__module__", ""))
    if module in ("_operator", "operator"):
        return name.startswith("i") and hasattr(torch.Tensor, f"__{name}__")
    says = "inplace" in getattr(getattr(call.target, "__code__", None), "co_varnames", ())
    return _ends_in_place(name) or "out" in call.kwargs or (says and any(arg is True for arg in call.args))


def _ends_in_place(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def _is_size(arg: Any) -> bool:
    return not isinstance(arg, torch.dtype)


def _copy_of(value: Any) -> Any:
    return value.clone(memory_format=torch.contiguous_format) if isinstance(value, Tensor) else value
