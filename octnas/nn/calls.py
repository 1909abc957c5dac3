"""Calls of a user's network: what runs at a node of its layer table that is no layer of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from torch import nn
from torch.fx.node import map_aggregate
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["Call", "Ref"]


@dataclass(frozen=True, slots=True)
class Ref:
    """A place in a call's arguments for a value that the node reads."""

    index: int
    """Of the node's `reads`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call as the user's code makes it."""

    kind: Literal["module", "norm", "function", "method", "attribute"]
    """ "norm": of a batch-norm's module, the normalisation alone, without what its class does besides."""
    target: str | Callable[..., Any]
    """The path of a module or of a parameter or buffer, the function, or the method's name."""
    args: tuple[Any, ...] = ()
    """With a `Ref` in the place of every value that is read; likewise `kwargs`."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    trains: bool = False
    """Whether `kwargs["training"]` is what the network's mode says (dropout, batch-norm as functions)."""
    per_sample: bool = False
    """Whether it keeps or drops whole images or clips: both branches of one have to share its fate."""

    def __call__(self, root: nn.Module, values: Sequence[Any]) -> Any:
        """What the call gives.

        Args:
            root: the module whose submodules and parameters the paths lead to.
            values: what the node reads, in the order of its `reads`.
        """
        if self.kind == "attribute":
            return self._attribute(root)
        args = map_aggregate(self.args, lambda arg: values[arg.index] if isinstance(arg, Ref) else arg)
        given = map_aggregate(
            dict(self.kwargs), lambda arg: values[arg.index] if isinstance(arg, Ref) else arg
        )
        assert isinstance(args, tuple)
        assert isinstance(given, dict)
        kwargs = dict(given)
        if self.trains:
            kwargs["training"] = root.training
        if self.kind == "module":
            return root.get_submodule(str(self.target))(*args, **kwargs)
        if self.kind == "norm":
            return _BatchNorm.forward(cast(_BatchNorm, root.get_submodule(str(self.target))), *args)
        if self.kind == "method":
            return getattr(args[0], str(self.target))(*args[1:], **kwargs)
        assert callable(self.target)
        return self.target(*args, **kwargs)

    def _attribute(self, root: nn.Module) -> Any:
        path, _, name = str(self.target).rpartition(".")
        return getattr(root.get_submodule(path), name)
