"""What PyTorch says of a graph at an input size: the shape of every value, and multiply-adds.

The graph runs on fake tensors, which have shapes and no numbers, so that a size costs a few hundredths of a
second and no memory, and everything that PyTorch knows is right: odd sizes, `ceil_mode`, any module at all.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._guards import detect_fake_mode
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from octnas.errors import ConversionError
from octnas.trace.symbolic import is_marked, path_of, where_of

__all__ = ["GIVE_SIZE", "Measured", "Ruler", "faked"]

Shape = tuple[int, ...]

GIVE_SIZE = "give the input size that the network is made for"
"""How a message ends on an input that a network cannot take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A graph at batch 1 and one input shape."""

    shapes: Mapping[str, Shape]
    """By the graph's names, of every value that is one tensor: (1, C, H, W) of a map."""
    macs: Mapping[str, int]
    """By the graph's names, multiply-adds of every call that has any."""


class Ruler:
    """Measures one graph at any input shape."""

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        self._mode = FakeTensorMode()
        self._real = {
            path: copy.deepcopy(each).eval() for path, each in module.named_modules() if is_marked(each)
        }
        """Modules that are kept whole: what they do may depend on numbers, which fake tensors have not."""
        self._graph = fx.GraphModule(faked(module, self._mode).eval(), graph)
        self._known: dict[Shape, Measured] = {}

    def at(self, input_shape: Sequence[int]) -> Measured:
        """Shapes and multiply-adds at batch 1 for (C, H, W) or (C, T, H, W).

        Raises:
            ConversionError: the network cannot take this input; names the layer.
        """
        shape = tuple(input_shape)
        if shape not in self._known:
            # also while something else is being traced or counted
            with _disable_current_modes():
                self._known[shape] = self._measured(shape)
        return self._known[shape]

    def __deepcopy__(self, memo: dict[int, Any]) -> Ruler:
        return self  # nothing of it changes but what it remembers

    def _measured(self, shape: Shape) -> Measured:
        run = _Run(self._graph, shape, self._real)
        with _silent(), self._mode, torch.no_grad():
            run.run(torch.empty(1, *shape))
        return Measured(shapes=run.shapes, macs=run.macs)


def faked(module: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """A copy of a module on fake tensors: of the same shapes and types, without numbers."""
    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        fake = mode.from_tensor(tensor.detach())
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(fake, requires_grad=False) if is_parameter else fake
    return copy.deepcopy(module, memo)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """What a layer cannot take is said in our words, and not in a log of PyTorch's."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Run(fx.Interpreter):
    """Runs the graph once and keeps what it sees."""

    def __init__(self, graph: fx.GraphModule, shape: Shape, real: Mapping[str, nn.Module]) -> None:
        super().__init__(graph)
        self.extra_traceback = False  # would add a paragraph to our message
        self.shapes: dict[str, Shape] = {}
        self.macs: dict[str, int] = {}
        self._shape, self._real = shape, real

    def run_node(self, n: fx.Node) -> Any:
        try:
            with FlopCounterMode(display=False) as counter:
                value = self._really(n) if n.target in self._real else super().run_node(n)
        except Exception as error:
            where = f" ({where_of(n)})" if where_of(n) else ""
            size = "x".join(map(str, self._shape))
            # behind the first paragraph the interpreter says what it was doing
            reason = " ".join(str(error).split("\n\n")[0].split())[:200]
            raise ConversionError(
                f"{path_of(n)}{where} cannot take what an input of {size} gives it: "
                f"{reason.removesuffix('.')}; {GIVE_SIZE}"
            ) from None
        if isinstance(value, Tensor):
            self.shapes[n.name] = tuple(value.shape)
        if flops := counter.get_total_flops():
            self.macs[n.name] = int(flops) // 2
        return value

    def _really(self, node: fx.Node) -> Any:
        """What a module makes of zeros, as fake tensors."""
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        mode = detect_fake_mode((args, kwargs))
        assert mode is not None
        with unset_fake_temporarily():
            zeros = tree_map_only(
                Tensor, lambda each: torch.zeros(each.shape, dtype=each.dtype), (args, kwargs)
            )
            value = self._real[str(node.target)](*zeros[0], **zeros[1])
        return tree_map_only(Tensor, mode.from_tensor, value)
