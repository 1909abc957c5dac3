"""From a graph of calls to the layers of a layer table, call by call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.conv import _ConvNd

from octnas.backbones import Dims
from octnas.errors import ConversionError
from octnas.nn.calls import Call, Ref
from octnas.trace.convolutions import conv_fault, is_batch_norm, pool_of
from octnas.trace.drafts import Draft
from octnas.trace.functions import (
    ADDS,
    CONCATENATES,
    MULTIPLIES,
    PARTS,
    SIZES,
    activation_of,
    arguments,
    called,
    is_elementwise,
)
from octnas.trace.leftovers import trains
from octnas.trace.refusals import refuse_mixing
from octnas.trace.symbolic import PER_SAMPLE, acts_too, is_marked, path_of, scope_of

__all__ = ["CONVOLUTIONS", "recognised"]

Shape = tuple[int, ...]
_MEANS = {"mean", torch.mean}
CONVOLUTIONS = {F.conv2d, F.conv3d, torch.conv2d, torch.conv3d}
"""As functions, on weights that belong to no layer."""
_ADAPTIVE: dict[Any, Dims] = {
    nn.AdaptiveAvgPool2d: 2,
    nn.AdaptiveAvgPool3d: 3,
    F.adaptive_avg_pool2d: 2,
    F.adaptive_avg_pool3d: 3,
}


def recognised(
    graph: fx.Graph,
    modules: dict[str, nn.Module],
    shapes: Mapping[str, Shape],
    dims: Dims,
    faulty: Mapping[str, str],
) -> list[Draft]:
    """The layers of a graph in the order of execution; the first is the input, the last gives the output.

    Args:
        modules: of the network, by path.
        shapes: of every value that is one tensor, at batch 1, by the graph's names.
        faulty: calls that have to stay plain, each with the reason, by the graph's names.
    """
    return _Reader(graph, modules, shapes, dims, faulty).drafts()


@dataclass(slots=True)
class _Reader:
    graph: fx.Graph
    modules: dict[str, nn.Module]
    shapes: Mapping[str, Shape]
    dims: Dims
    faulty: Mapping[str, str]

    def drafts(self) -> list[Draft]:
        found: dict[fx.Node, Draft] = {}
        names: set[str] = {"input"}
        drafts: list[Draft] = []
        for node in self.graph.nodes:
            if node in found:
                continue
            if node.op == "output":
                last = self._output(node, found, names)
                if last is not None:
                    drafts.append(last)
                break
            if node.op == "placeholder":
                draft = Draft(kind="input", name="input", first=node, last=node)
                if found:
                    continue  # an argument that is given its default
            else:
                draft = self._draft(node, found)
                draft.name = _unique(path_of(node), names)
                draft.scope = scope_of(node)
                self._absorb(draft, found)
            found[draft.last] = draft
            drafts.append(draft)
        for draft in drafts:
            for source in dict.fromkeys(draft.reads):
                source.readers.append(draft)
        return drafts

    def _draft(self, node: fx.Node, found: Mapping[fx.Node, Draft]) -> Draft:
        inputs = node.all_input_nodes
        maps = [source for source in inputs if self._is_map(source)]
        refuse_for = maps[0] if maps else None
        if refuse_for is not None and node.name in self.shapes:
            refuse_mixing(node, self.modules, self.shapes[refuse_for.name], self.shapes[node.name])
        draft = Draft(kind="plain", name="", first=node, last=node, is_map=self._is_map(node))
        what = called(node, self.modules)
        if node.op == "call_module":
            draft.module = what
        draft.what = type(what).__name__ if isinstance(what, nn.Module) else _word(node)
        kept = draft.module is not None and is_marked(draft.module)
        draft.why = "octnas.plain keeps it as it is" if kept else self.faulty.get(node.name)
        if draft.why is not None or not maps or not self._as_layer(draft, node, what, maps):
            self._as_plain(draft, node, maps)
        draft.reads = draft.reads or [found[source] for source in self._sources(draft, node)]
        return draft

    def _as_layer(self, draft: Draft, node: fx.Node, what: Any, maps: list[fx.Node]) -> bool:
        """Whether a call that reads maps is a layer; fills in which, or why not."""
        if isinstance(what, _ConvNd):
            return self._as_conv(draft, node, what)
        if isinstance(what, nn.Module) and is_batch_norm(what, self.dims):
            draft.kind = "norm"
            return True
        fields, draft.why = pool_of(node, what, self.dims)
        if fields is not None:
            if draft.is_map:
                draft.kind, draft.pool = "pool", fields
                return True
            kind = f"nn.AdaptiveAvgPool{self.dims}d(1)"
            draft.why = f"its window is the whole map: {kind} pools at any size"
        if draft.why is not None:
            return False
        if _is_per_sample(what) or is_elementwise(node, self.modules):
            draft.kind = "elementwise"
            draft.call = self._call(node, per_sample=_is_per_sample(what))
            return True
        return (
            self._as_squeeze(draft, node, what)
            or self._as_sum(draft, node, what, maps)
            or self._as_gate(draft, node, what, maps)
            or self._as_concat(draft, node, what, maps)
        )

    def _as_conv(self, draft: Draft, node: fx.Node, module: nn.Module) -> bool:
        draft.why = conv_fault(module, self.dims)
        if draft.why is not None or not draft.is_map:
            return False
        draft.kind, draft.splits = "conv", True
        return True

    def _as_squeeze(self, draft: Draft, node: fx.Node, what: Any) -> bool:
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or node.name not in self.shapes:
            return False
        shape, out = self.shapes[source.name], self.shapes[node.name]
        adaptive = _ADAPTIVE.get(type(what) if isinstance(what, nn.Module) else what)
        means = what in _MEANS if not isinstance(what, nn.Module) else False
        if adaptive != self.dims and not means:
            return False
        keeps = (*shape[:2], *[1] * self.dims)
        if out not in (shape[:2], keeps) or (means and not self._over_space(node, len(shape))):
            return False
        draft.kind, draft.is_map = "squeeze", False
        return True

    def _over_space(self, node: fx.Node, rank: int) -> bool:
        axes = node.kwargs.get("dim", node.kwargs.get("axis", node.args[1] if len(node.args) > 1 else None))
        if not isinstance(axes, list | tuple) or "dtype" in node.kwargs:
            return False
        return sorted(int(cast(int, axis)) % rank for axis in axes) == list(range(2, rank))

    def _as_sum(self, draft: Draft, node: fx.Node, what: Any, maps: list[fx.Node]) -> bool:
        operands = [*node.args, *node.kwargs.values()]
        if not _is_one_of(what, ADDS) or len(maps) != 2 or len(operands) != 2:
            return False
        if len({self.shapes[each.name] for each in maps}) != 1:
            return False
        draft.kind = "add"
        return True

    def _as_gate(self, draft: Draft, node: fx.Node, what: Any, maps: list[fx.Node]) -> bool:
        times, plus = _is_one_of(what, MULTIPLIES), _is_one_of(what, ADDS)
        if not (times or plus) or len(maps) != 1 or len(node.all_input_nodes) != 2 or node.kwargs:
            return False
        other = next(each for each in node.all_input_nodes if each is not maps[0])
        shape, vector = self.shapes[maps[0].name], self.shapes.get(other.name)
        if vector is None or len(vector) > len(shape):
            return False
        vector = (*[1] * (len(shape) - len(vector)), *vector)
        if set(vector[2:]) != {1} or vector[1] not in (1, shape[1]):
            return False
        draft.kind, draft.what = "gate", "times" if times else "plus"
        return True

    def _as_concat(self, draft: Draft, node: fx.Node, what: Any, maps: list[fx.Node]) -> bool:
        if not _is_one_of(what, CONCATENATES) or not node.args:
            return False
        parts, axis = node.args[0], node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
        rank = self.dims + 2
        if not isinstance(parts, list | tuple) or axis not in (1, 1 - rank) or len(maps) != len(set(parts)):
            return False
        if any(part not in maps for part in parts):
            return False
        draft.kind = "concat"
        return True

    def _as_plain(self, draft: Draft, node: fx.Node, maps: list[fx.Node]) -> None:
        draft.kind = "plain"
        draft.sizes_only = bool(maps) and _asks_size(node)
        if maps and node.target in CONVOLUTIONS:
            draft.why = "a convolution as a function, whose weight belongs to no layer"
        if maps and draft.why is None and called(node, self.modules) in PARTS:
            draft.why = "it takes channels out or puts them elsewhere, which octaves have by resolution"
        if maps and draft.why is None and not draft.sizes_only:
            draft.why = f"{draft.what} is no layer that octaves pass through"
        if not maps or draft.sizes_only:
            draft.why = None
        draft.call = self._call(node)

    def _sources(self, draft: Draft, node: fx.Node) -> list[fx.Node]:
        """What a call reads: a gate its map first, a concatenation its parts as often as they stand there."""
        inputs = list(node.all_input_nodes)
        if draft.kind == "gate":
            return sorted(inputs, key=lambda each: not self._is_map(each))
        if draft.kind == "concat":
            return list(cast(Any, node.args[0]))
        if draft.kind == "add":
            return [each for each in (*node.args, *node.kwargs.values()) if isinstance(each, fx.Node)]
        return inputs

    def _absorb(self, draft: Draft, found: dict[fx.Node, Draft]) -> None:
        """Takes a batch-norm and an activation that nothing else reads in between into a layer."""
        if draft.kind == "conv":
            draft.norm = self._norm_behind(draft)
        if draft.kind in ("conv", "norm", "add"):
            follower = self._only_reader(draft.last)
            activation = None if follower is None else activation_of(follower, self.modules)
            if follower is not None and activation is not None:
                found[draft.last] = draft
                draft.activation, draft.last = activation, follower
        found[draft.last] = draft

    def _norm_behind(self, draft: Draft) -> str | None:
        follower = self._only_reader(draft.last)
        if follower is None or follower.op != "call_module":
            return None
        if not is_batch_norm(self.modules[str(follower.target)], self.dims):
            return None
        draft.last = follower
        return str(follower.target)

    def _only_reader(self, node: fx.Node) -> fx.Node | None:
        return next(iter(node.users)) if len(node.users) == 1 else None

    def _output(self, node: fx.Node, found: Mapping[fx.Node, Draft], names: set[str]) -> Draft | None:
        """The layer that gives what the network returns, where that is no layer's value as it is."""
        returned = node.args[0]
        if isinstance(returned, fx.Node) and not self._is_map(returned):
            return None
        if not node.all_input_nodes:
            raise ConversionError("`forward` must return what it makes of its input, but returns a constant")
        draft = Draft(kind="output", name=_unique("output", names), first=node, last=node, is_map=False)
        draft.reads = [found[each] for each in node.all_input_nodes]
        template = _template(node.args, node.all_input_nodes)
        draft.call = Call(kind="function", target=_as_is, args=template)
        return draft

    def _call(self, node: fx.Node, *, per_sample: bool = False) -> Call:
        args, kwargs = arguments(node)
        what = called(node, self.modules)
        kinds = {
            "call_module": "module",
            "call_function": "function",
            "call_method": "method",
            "get_attr": "attribute",
        }
        return Call(
            kind=cast(Any, "norm" if isinstance(what, nn.Module) and acts_too(what) else kinds[node.op]),
            target=cast(Any, node.target),
            args=_template(args, node.all_input_nodes),
            kwargs=_template(kwargs, node.all_input_nodes),
            trains=trains(node),
            per_sample=per_sample,
        )

    def _is_map(self, node: fx.Node) -> bool:
        shape = self.shapes.get(node.name, ())
        return len(shape) == self.dims + 2 and shape[0] == 1 and shape[-2:] != (1, 1)


def _as_is(value: Any) -> Any:
    """What a network returns that has maps in it, or is one."""
    return value


def _template(args: Any, inputs: list[fx.Node]) -> Any:
    places: dict[fx.Node, Any] = {node: Ref(i) for i, node in enumerate(inputs)}
    return fx.node.map_arg(args, lambda node: places[node])


def _is_per_sample(what: Any) -> bool:
    return isinstance(what, nn.Module) and any(kind.__name__ in PER_SAMPLE for kind in type(what).__mro__)


def _is_one_of(what: Any, known: set[Any]) -> bool:
    return not isinstance(what, nn.Module) and what in known


def _asks_size(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in SIZES
    return (
        node.op == "call_function" and node.target is getattr and node.args[1] in ("shape", "ndim", "dtype")
    )


def _word(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", node.name)


def _unique(name: str, names: set[str]) -> str:
    """`name`, or `name#2`, `name#3`, ... where it is taken."""
    found, count = name, 1
    while found in names:
        count += 1
        found = f"{name}#{count}"
    names.add(found)
    return found
