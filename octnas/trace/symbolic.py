"""A user's module as a graph of calls, by torch.fx, and a clear word on what cannot become one."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from torch import fx, nn
from torch.fx.proxy import TraceError
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from octnas.errors import ConversionError
from octnas.trace.where import place_of_error, place_of_frame, quoted

__all__ = [
    "PER_SAMPLE",
    "REMEDY",
    "acts_too",
    "computes_as",
    "graph_of",
    "is_marked",
    "path_of",
    "plain",
    "scope_of",
    "where_of",
]

REMEDY = "put that into a module of its own and mark it with octnas.plain(module), which keeps it as it is"
PER_SAMPLE = ("StochasticDepth", "DropPath")
"""Classes that drop whole samples: both branches of a map have to drop the same ones."""

_MARK = "octnas_plain"
_Module = TypeVar("_Module", bound=nn.Module)


def plain(module: _Module) -> _Module:
    """Marks a module that is to stay as it is, whatever is in it; returns it.

    For what cannot be traced, such as control flow that depends on data. It reads maps at full resolution.
    """
    setattr(module, _MARK, True)
    return module


def is_marked(module: nn.Module) -> bool:
    """Whether `plain` marked a module."""
    return bool(getattr(module, _MARK, False))


def graph_of(module: nn.Module, *, training: bool = False) -> fx.Graph:
    """The calls of a module's `forward`, by default in evaluation mode, submodule by submodule.

    Each node knows its module (`scope_of`) and its line (`where_of`). `module` itself is not changed.

    Raises:
        ConversionError: the module cannot be traced; names the layer, the line and a remedy.
    """
    tracer = _Tracer()
    modes = {each: each.training for each in module.modules()}
    module.train(training)
    try:
        return tracer.trace(module, concrete_args=_defaults(module))
    except ConversionError:
        raise
    except Exception as error:
        raise _refusal(error, tracer.failed_in or type(module).__name__) from None
    finally:
        for each, mode in modes.items():
            each.training = mode


def acts_too(module: nn.Module) -> bool:
    """Whether a module is a batch-norm with dropout and activation inside, `drop` and `act`, as of timm."""
    return (
        isinstance(module, _BatchNorm)
        and not type(module).__module__.startswith("torch.")
        and {"drop", "act"} <= set(module._modules)
    )


def computes_as(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is a layer of PyTorch's, or of a class of its own that computes nothing by itself."""
    if not isinstance(module, kind):
        return False
    of_torch = next(each for each in type(module).__mro__ if each.__module__.startswith("torch.nn."))
    return all(
        getattr(type(module), name, None) is getattr(of_torch, name, None)
        for name in ("forward", "_conv_forward")
    )


def scope_of(node: fx.Node) -> str:
    """The path of the module whose code makes the call; "" for the network itself."""
    scope: str = node.meta.get("scope", "")
    return scope


def path_of(node: fx.Node) -> str:
    """What to call a node in a message: the path of the module that it calls, or that makes the call."""
    if node.op in ("call_module", "get_attr"):
        return str(node.target)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", node.name)
    scope = scope_of(node)
    return f"{scope}.{name}" if scope else str(name)


def where_of(node: fx.Node) -> str:
    """File and line of the call in the user's code; "" where it has none."""
    where: str = node.meta.get("where", "")
    return where


class _Tracer(fx.Tracer):
    """Keeps modules whole that torch has, that are marked, and that act otherwise in training."""

    def __init__(self) -> None:
        super().__init__()
        self.failed_in = ""
        """Path of the innermost module whose code could not be traced."""
        self._scopes: list[str] = [""]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if is_marked(m) or super().is_leaf_module(m, module_qualified_name):
            return True
        if computes_as(m, _ConvNd) or computes_as(m, _BatchNorm):
            return True
        # Traced in evaluation mode, it would lose what it does in training.
        names = getattr(getattr(type(m).forward, "__code__", None), "co_names", ())
        return next(m.parameters(), None) is None and ("training" in names or _is_named(m, PER_SAMPLE))

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        path = self.path_of_module(m)
        if acts_too(m):
            x: Any = self.create_proxy("call_module", path, args, kwargs)
            for name in ("drop", "act"):
                child = m.get_submodule(name)
                x = x if type(child) is nn.Identity else self.call_module(child, child.forward, (x,), {})
            return x
        inside = not self.is_leaf_module(m, path)
        if inside:
            _refuse_hooks(m, path)
            self._scopes.append(path)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed_in = self.failed_in or path
            raise
        finally:
            if inside:
                self._scopes.pop()

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["scope"] = self._scopes[-1]
        node.meta["where"] = place_of_frame(sys._getframe(), "graph_of")
        return node


def _is_named(module: nn.Module, names: tuple[str, ...]) -> bool:
    return any(kind.__name__ in names for kind in type(module).__mro__)


def _defaults(module: nn.Module) -> dict[str, Any] | None:
    """The arguments of `forward` but the first, each at its default.

    Raises:
        ConversionError: `forward` needs another number of inputs than one.
    """
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(module.forward).parameters.values())
    single = [each for each in parameters if each.kind in kinds]
    needed = [
        each.name
        for each in parameters
        if each.default is inspect.Parameter.empty
        and each.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    if not single or len(needed) > 1:
        raise ConversionError(
            f"`forward` must take one batch of images or clips, but {type(module).__name__}'s takes "
            f"{', '.join(needed) or 'nothing'}: wrap it in a module with one input"
        )
    return {each.name: each.default for each in parameters[1:] if each.default is not each.empty} or None


def _refusal(error: Exception, path: str) -> ConversionError:
    where, code = place_of_error(error), quoted(error)
    at = f" ({where}{', ' if where and code else ''}{code})" if where or code else ""
    text = " ".join(str(error).split())
    if isinstance(error, TraceError) or "Proxy" in text:
        return ConversionError(
            f"{path}{at} has control flow, or a number, that depends on data and cannot be traced: {REMEDY}"
        )
    return ConversionError(
        f"{path}{at} cannot be traced: {type(error).__name__}: {text[:200]}; correct it, or {REMEDY}"
    )


def _refuse_hooks(module: nn.Module, path: str) -> None:
    """Refuses hooks on a module whose code is traced: they would not run."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise ConversionError(
            f"{path or type(module).__name__} has forward hooks, which a converted network would not run: "
            f"remove them before the conversion, or {REMEDY}"
        )
