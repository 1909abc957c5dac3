"""From a user's module to its layer table, and to the calls of what no layer of ours stands for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx, nn
from torch.nn.modules.conv import _ConvNd

from octnas.backbones import Add, Concat, Conv, Dims, Elementwise, Gate, Node, Norm, Plain, Pool, Squeeze
from octnas.errors import ConversionError
from octnas.trace.drafts import Draft
from octnas.trace.leftovers import left_out
from octnas.trace.measure import Measured, Ruler
from octnas.trace.places import Place, placed
from octnas.trace.recognise import CONVOLUTIONS, recognised
from octnas.trace.refusals import refuse_in_place, refuse_layers, refuse_shared
from octnas.trace.splits import Part, settled
from octnas.trace.symbolic import graph_of, where_of
from octnas.trace.table import TracedTable

__all__ = ["traced", "usual_input"]

SIDE, FRAMES = 224, 16
"""The usual input of a user's network: side in px, and frames of a clip."""


def usual_input(module: nn.Module, *, side: int | None = None) -> tuple[int, ...]:
    """(C, 224, 224), or (C, 16, 224, 224) of a network of 3D convolutions: C as its first one has it.

    Raises:
        ConversionError: the network has no convolution.
    """
    first = next((each for each in module.modules() if isinstance(each, _ConvNd)), None)
    if first is None:
        raise ConversionError(
            f"{type(module).__name__} has no convolution, and octaves are for convolutional networks"
        )
    frames = (FRAMES,) if len(first.kernel_size) == 3 else ()
    return (first.in_channels, *frames, side or SIDE, side or SIDE)


def traced(
    module: nn.Module, *, name: str, input_shape: Sequence[int] | None = None, width: int = 64
) -> TracedTable:
    """The layer table of a module of convolutions, in 2D or 3D.

    Args:
        module: is not changed; it is read in evaluation mode.
        name: what to call the backbone.
        input_shape: (C, H, W) or (C, T, H, W) of an input that it takes; by default `usual_input`.
        width: what the table says of its width.

    Raises:
        ConversionError: something in it cannot be read, or cannot be taken apart; names the layer.
    """
    shape = tuple(input_shape) if input_shape is not None else usual_input(module)
    refuse_layers(module)
    graph = graph_of(module)
    modules = dict(module.named_modules(remove_duplicate=False))
    refuse_shared(graph, modules)
    refuse_in_place(graph, modules)
    _drop_unused(graph)
    ruler = Ruler(module, graph)
    measured = ruler.at(shape)
    dims: Dims = 2 if len(shape) == 3 else 3
    return _Assembly(module, modules, graph, measured, dims).table(name, shape, width, ruler)


def _drop_unused(graph: fx.Graph) -> None:
    """Drops calls whose value nothing reads; those that write in place were refused where that matters."""
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("output", "placeholder"):
            graph.erase_node(node)


class _Assembly:
    """The nodes of the table, made of the drafts."""

    def __init__(
        self,
        module: nn.Module,
        modules: dict[str, nn.Module],
        graph: fx.Graph,
        measured: Measured,
        dims: Dims,
    ) -> None:
        self.module, self.modules, self.graph = module, modules, graph
        self.measured, self.dims = measured, dims
        self.left_out = left_out(module, graph)
        faulty: dict[str, str] = {}
        while True:
            self.drafts = recognised(graph, modules, measured.shapes, dims, faulty)
            self.channels = {draft: self._channels(draft) for draft in self.drafts}
            self.parts, faults = settled(self.drafts, self.channels)
            if not faults:
                break
            # one at a time: what becomes plain may be what another one is faulty for
            draft, reason = next(iter(faults.items()))
            faulty[draft.first.name] = reason
        sizes = {draft: self._size(draft) for draft in self.drafts}
        self.places = placed(self.drafts[1:], modules, sizes)
        owners = [
            draft
            for draft in self.drafts
            if draft.kind == "conv" and draft.splits and draft.shortcut_of is None
        ]
        self.slots = {draft: index for index, draft in enumerate(owners)}

    def table(self, name: str, shape: tuple[int, ...], width: int, ruler: Ruler) -> TracedTable:
        drafts = self.drafts[1:]
        return TracedTable(
            backbone=name,
            dims=self.dims,
            width=width,
            stem="imagenet",
            in_channels=shape[0],
            num_classes=self._classes(),
            nodes=tuple(self._node(draft) for draft in drafts),
            calls={draft.name: draft.call for draft in drafts if draft.call is not None},
            own_params=sum(parameter.numel() for parameter in self.module.parameters()),
            left_out=self.left_out,
            input_shape=shape,
            values={draft.name: draft.last.name for draft in drafts},
            ruler=ruler,
            known={shape: self.measured},
        )

    def _node(self, draft: Draft) -> Node:
        stage, block = self.places[draft]
        name, reads = draft.name, tuple(source.name for source in draft.reads)
        match draft.kind:
            case "conv":
                return self._conv(draft, (stage, block))
            case "norm":
                return Norm(
                    name=name,
                    reads=reads[0],
                    channels=self.channels[draft],
                    activation=draft.activation,
                    stage=stage,
                    block=block,
                )
            case "pool":
                return Pool(name=name, reads=reads[0], stage=stage, block=block, **draft.pool)
            case "add":
                return Add(
                    name=name,
                    reads=(reads[0], reads[1]),
                    activation=draft.activation,
                    stage=stage,
                    block=block,
                )
            case "concat":
                return Concat(name=name, reads=reads, stage=stage, block=block)
            case "elementwise":
                return Elementwise(name=name, reads=reads[0], what=draft.what, stage=stage, block=block)
            case "squeeze":
                keeps = len(self.measured.shapes[draft.last.name]) > 2
                return Squeeze(
                    name=name,
                    reads=reads[0],
                    channels=self.channels[draft],
                    keeps=keeps,
                    stage=stage,
                    block=block,
                )
            case "gate":
                what = "times" if draft.what == "times" else "plus"
                return Gate(name=name, reads=(reads[0], reads[1]), what=what, stage=stage, block=block)  # type: ignore[arg-type]
            case _:
                return self._plain(draft, (stage, block))

    def _conv(self, draft: Draft, place: Place) -> Conv:
        module, slot = draft.module, None
        assert isinstance(module, _ConvNd)
        if draft.splits:
            slot = self.slots[draft.shortcut_of or draft]
        times = self.dims == 3
        return Conv(
            name=draft.name,
            norm=draft.norm,
            reads=draft.reads[0].name,
            in_channels=module.in_channels,
            out_channels=module.out_channels,
            kernel=module.kernel_size[-1],
            stride=module.stride[-1],
            kernel_time=module.kernel_size[0] if times else 1,
            stride_time=module.stride[0] if times else 1,
            dilation=module.dilation[-1],
            dilation_time=module.dilation[0] if times else 1,
            groups=module.groups,
            layout=draft.layout,
            activation=draft.activation,
            stage=place[0],
            block=place[1],
            slot=slot,
            shortcut=draft.shortcut_of is not None,
        )

    def _plain(self, draft: Draft, place: Place) -> Plain:
        lifts = not draft.sizes_only and any(self._splits(source) for source in draft.reads)
        is_layer = isinstance(draft.module, _ConvNd) or draft.first.target in CONVOLUTIONS
        return Plain(
            name=draft.name,
            reads=tuple(source.name for source in draft.reads),
            what=draft.what,
            why=draft.why if lifts or is_layer else None,
            where=where_of(draft.first),
            channels=self.channels[draft],
            lifts=lifts,
            sizes_only=draft.sizes_only,
            stage=place[0],
            block=place[1],
        )

    def _splits(self, draft: Draft) -> bool:
        parts: tuple[Part, ...] = self.parts[draft]
        return any(part.owner is not None for part in parts)

    def _channels(self, draft: Draft) -> int:
        shape = self.measured.shapes.get(draft.last.name, ())
        return shape[1] if len(shape) > 1 else 0

    def _size(self, draft: Draft) -> tuple[int, int]:
        shape = self.measured.shapes.get(draft.last.name, ())
        return (shape[-2], shape[-1]) if len(shape) == self.dims + 2 else (1, 1)

    def _classes(self) -> int:
        """Outputs of the network, or channels of the map that it gives; 0 where it gives several things."""
        last = self.drafts[-1]
        if last.kind == "output":
            return self.channels[last.reads[0]] if len(last.reads) == 1 else 0
        return self.channels[last]
