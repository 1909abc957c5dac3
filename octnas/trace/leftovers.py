"""What a user's network does in training alone: it is read in evaluation mode, and trained as it is read."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import fx, nn

from octnas.backbones import LeftOut
from octnas.errors import ConversionError
from octnas.trace.functions import arguments, is_told
from octnas.trace.symbolic import graph_of, path_of, where_of

__all__ = ["left_out", "trains"]

_TRAINS = "trains"


def left_out(module: nn.Module, graph: fx.Graph) -> tuple[LeftOut, ...]:
    """Modules that no call uses, and calls that are made in training alone or with other arguments.

    Dropout and batch-norm as functions that `training` is handed on to are none of them: they are marked, for
    `trains`.

    Args:
        graph: of the module in evaluation mode.
    """
    found = _unused(module, graph)
    try:
        training = graph_of(module, training=True)
    except ConversionError:
        return tuple(found)
    calls: dict[Any, list[fx.Node]] = defaultdict(list)
    for node in graph.nodes:
        calls[_call(node)].append(node)
    for node in training.nodes:
        same = calls[_call(node)]
        if same:
            twin = same.pop(0)
            if is_told(node):
                told = [arguments(each)[1].get("training") for each in (twin, node)]
                twin.meta[_TRAINS] = told == [False, True]
            continue
        path = path_of(node)
        known = any(path == other.name or path.startswith(f"{other.name}.") for other in found)
        if known or node.op in ("placeholder", "output") or isinstance(node.target, type):
            continue
        what = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", node.name)
        if node.op == "call_module":
            what = type(module.get_submodule(str(node.target))).__name__
        found.append(
            LeftOut(name=path, what=what, why="it is called so in training alone", where=where_of(node))
        )
    return tuple(found)


def trains(node: fx.Node) -> bool:
    """Whether a call is told by the network's mode whether it trains; after `left_out`."""
    return bool(node.meta.get(_TRAINS, False))


def _unused(module: nn.Module, graph: fx.Graph) -> list[LeftOut]:
    """The outermost modules with parameters of which no call uses any."""
    used: set[int] = set()
    for node in graph.nodes:
        if node.op == "call_module":
            used |= {id(each) for each in module.get_submodule(str(node.target)).parameters()}
        elif node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            used.add(id(getattr(module.get_submodule(owner), name)))
    found: list[LeftOut] = []
    for path, each in module.named_modules():
        own = [id(parameter) for parameter in each.parameters()]
        inside = any(path.startswith(f"{other.name}.") for other in found)
        if own and not inside and used.isdisjoint(own):
            found.append(
                LeftOut(name=path, what=type(each).__name__, why="it does not run in evaluation mode")
            )
    return found


def _call(node: fx.Node) -> tuple[Any, ...]:
    """What is called where, with which numbers; of what `training` is handed on to, the call alone."""
    numbers: list[Any] = []
    if not is_told(node):
        fx.node.map_aggregate((node.args, dict(node.kwargs)), lambda arg: numbers.append(_number(arg)))
    return node.op, str(node.target), path_of(node), where_of(node), repr(numbers)


def _number(arg: Any) -> Any:
    return arg if isinstance(arg, bool | int | float | str | None) else None
