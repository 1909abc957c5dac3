"""The equivalent plans of one deployed convolution, and the choice between them.

One layer with `hi + li` input and `ho + lo` output channels (high + low) has several plans that give the
same numbers. A plan is a list of `Op`s, each of which is timed by itself on a device, so that a plan, and a
whole network, costs the sum of its operations. With h and l the two branches of the input, P the 2x2 average,
U nearest upsampling, W the dense kernel with channels ordered [high | low]:

| form | high | low | for |
|---|---|---|---|
| plain | conv(h), strided or pooled as the architecture says | | no low channels |
| concat | conv(h, W_hh) + U conv(l, W_lh) | conv([P h, l], W_lo) | stride 1 |
| low-to-all | conv(h, W_hh) + U a | conv(P h, W_hl) + b, where [a, b] = conv(l, W_:l) | stride 1, all paths |
| high-to-all | a + U c | P b + d, where [a, b] = conv(h, W_:h), [c, d] = conv(l, W_:l) | 1x1, pool after |
| lifted-high | conv([h, U l], W_ho) | conv(P [h, U l], W_lo) | 1x1, where few channels rise to many |
| lifted | a | P b, where [a, b] = conv([h, U l], W) | 1x1, the plain layer |
| from-low | U a | b, where [a, b] = conv(l, W) | stride 1, an input that is low throughout |
| half | conv([P h, l], W_ho) | conv(P [P h, l], W_lo) | stride 2 |
| half-to-all | a | P b, where [a, b] = conv([P h, l], W) | stride 2, 1x1 |
| paths | conv(h, W_hh) + U conv(l, W_lh), or without U | conv(P h, W_hl) + conv(l, W_ll) | grouped |
| each | conv(h), or of P h | conv(l), or of P l | depthwise: no path crosses |

A 1x1 convolution commutes with pooling and with upsampling, borders of odd maps included, and P U l is l,
which is what the forms for 1x1 use: fewer convolutions or less to move, and more multiply-adds than
`octnas.costs.flops` counts, which are those of the concat and half forms. An octave is one of space, so all
this holds for kernels over time and for strides over time too, which are part of every convolution.

A grouped layer has the forms concat and half, with [P h, l] joined group by group, and, without that
shuffling of channels, a convolution for each path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from octnas.backbones import Conv, Dims
from octnas.costs.ops import Op, OpKind, Times, Volume, built_in_ms, halved, map_op

__all__ = ["Form", "LayerPlan", "conv_pools", "layer_ops", "layer_plans"]

Form = Literal[
    "plain",
    "concat",
    "low-to-all",
    "high-to-all",
    "lifted-high",
    "lifted",
    "half",
    "half-to-all",
    "from-low",
    "paths",
    "each",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """One way to compute a layer."""

    form: Form
    ops: tuple[Op, ...]

    def ms(self, times: Times) -> float:
        """The sum of its operations' times."""
        return sum(map(times, self.ops))


def layer_plans(
    conv: Conv,
    low_in: int,
    low_out: int,
    size: tuple[int, int],
    *,
    dims: Dims = 2,
    frames: tuple[int, int] = (1, 1),
    pools: bool = False,
) -> tuple[LayerPlan, ...]:
    """All plans of one convolution with its batch-norm folded in; the first is the fewest multiply-adds.

    Args:
        low_in: low channels that it reads; of a depthwise convolution, those that it writes.
        size: nominal height and width in px of the output map.
        frames: of the input and of the output map.
        pools: whether the layer pools before it convolves where it has stride 2 and no low channels.
    """
    layer = _Layer(conv, low_in, low_out, size, dims, frames)
    return tuple(LayerPlan(form=form, ops=tuple(ops)) for form, ops in layer.plans(pools))


def layer_ops(
    conv: Conv,
    low_in: int,
    low_out: int,
    size: tuple[int, int],
    *,
    dims: Dims = 2,
    frames: tuple[int, int] = (1, 1),
    pools: bool = False,
    times: Times | None = None,
) -> LayerPlan:
    """The plan of one convolution that takes least by `times` (default: `built_in_ms`)."""
    plans = layer_plans(conv, low_in, low_out, size, dims=dims, frames=frames, pools=pools)
    return plans[0] if len(plans) == 1 else min(plans, key=lambda plan: plan.ms(times or built_in_ms))


def conv_pools(conv: Conv) -> bool:
    """Whether a convolution without low channels pools first in an architecture that pools; no stem does."""
    return conv.stride == 2 and conv.slot is not None


Plans = Iterator[tuple[Form, list[Op]]]


class _Layer:
    """One convolution at one size: its operations, and the plans made of them."""

    def __init__(
        self,
        conv: Conv,
        low_in: int,
        low_out: int,
        size: tuple[int, int],
        dims: Dims,
        frames: tuple[int, int],
    ) -> None:
        self.conv = conv
        self.low_in, self.low_out = low_in, low_out
        self.high_in, self.high_out = conv.in_channels - low_in, conv.out_channels - low_out
        self.dims = dims
        # of what it reads at the size of what it writes, and of what it writes; each with its low size
        self.reads: Volume = (frames[0], *size)
        self.at: Volume = (frames[1], *size)
        self.reads_low, self.at_low = halved(self.reads), halved(self.at)

    def plans(self, pools: bool) -> Plans:
        if not self.low_in and not self.low_out:
            return self._plain(pools)
        if self.conv.depthwise:
            return self._each()
        if self.conv.groups > 1:
            return self._grouped()
        if self.conv.stride == 2:
            return self._halving()
        if not self.high_in:
            return self._from_low()
        return self._keeping()

    def _plain(self, pools: bool) -> Plans:
        conv = self.conv
        whole = self._conv(conv.in_channels, conv.out_channels, self.at)
        if pools:
            yield "plain", [*self._pool(conv.in_channels, self.reads), *whole]
        else:
            yield "plain", [replace(op, stride=conv.stride) for op in whole]

    def _each(self) -> Plans:
        ops: list[Op] = []
        for channels, reads, at in (
            (self.high_out, self.reads, self.at),
            (self.low_out, self.reads_low, self.at_low),
        ):
            pooled = self._pool(channels, reads) if self.conv.stride == 2 else []
            ops += [*pooled, *self._conv(channels, channels, at, groups=channels)]
        yield "each", ops

    def _grouped(self) -> Plans:
        if self.conv.stride == 2:
            yield from self._half() if self.high_in and self.low_in else ()
            yield "paths", self._halving_paths()
            return
        if self.high_in and self.low_in and self.low_out:
            yield "concat", [*self._high(), *self._merged()]
        yield "paths", [*self._high(), *self._low_paths(self.reads_low)]

    def _halving_paths(self) -> list[Op]:
        high: list[Op] = []
        if self.high_out:
            both = self.high_in and self.low_in
            high = [
                *self._conv(self.high_in, self.high_out, self.at),
                *self._conv(self.low_in, self.high_out, self.at),
                *(self._op("sum", self.high_out, self.at) if both else []),
            ]
        pooled = self._pool(self.low_in, self.reads_low) if self.low_out else []
        return [*self._pool(self.high_in, self.reads), *high, *pooled, *self._low_paths(self.reads_low)]

    def _low_paths(self, reads: Volume) -> list[Op]:
        """The low output of the high map, of this size when pooled, and of the low one."""
        if not self.low_out:
            return []
        both = self.high_in and self.low_in
        return [
            *self._pool(self.high_in, reads),
            *self._conv(self.high_in, self.low_out, self.at_low),
            *self._conv(self.low_in, self.low_out, self.at_low),
            *(self._op("sum", self.low_out, self.at_low) if both else []),
        ]

    def _halving(self) -> Plans:
        yield from self._half()
        if self.conv.kernel == 1 and self.high_out and self.low_out:
            whole = self._conv(self.conv.in_channels, self.conv.out_channels, self.at)
            low = self._pool(self.low_out, self.at_low)
            yield "half-to-all", [*self._half_size(), *whole, *self._cut(self.at), *low]

    def _half(self) -> Plans:
        yield "half", [*self._half_size(), *self._to_each()]

    def _half_size(self) -> list[Op]:
        """Both branches as one map of the output's size."""
        return [*self._pool(self.high_in, self.reads), *self._join(self.reads)]

    def _to_each(self) -> list[Op]:
        """Both outputs of one map at the size of the high one."""
        c_in = self.conv.in_channels
        low = [*self._pool(c_in, self.reads_low), *self._conv(c_in, self.low_out, self.at_low)]
        return [*self._conv(c_in, self.high_out, self.at), *(low if self.low_out else [])]

    def _from_low(self) -> Plans:
        split = self._cut(self.at_low) if self.high_out and self.low_out else []
        whole = self._conv(self.conv.in_channels, self.conv.out_channels, self.at_low)
        yield "from-low", [*whole, *split, *self._rise()]

    def _keeping(self) -> Plans:
        c_in, c_out = self.conv.in_channels, self.conv.out_channels
        yield "concat", [*self._high(), *(self._merged() if self.low_out else [])]
        if self.low_in and self.high_out and self.low_out:
            yield (
                "low-to-all",
                [
                    *self._conv(self.high_in, self.high_out, self.at),
                    *self._pool(self.high_in, self.reads_low),
                    *self._conv(self.high_in, self.low_out, self.at_low),
                    *self._conv(self.low_in, c_out, self.at_low),
                    *self._cut(self.at_low),
                    *self._rise(),
                    *self._op("sum", self.low_out, self.at_low),
                ],
            )
        if self.conv.kernel != 1:
            return
        if self.low_out:
            cuts = [*self._cut(self.at), *(self._cut(self.at_low) if self.low_in else [])]
            yield (
                "high-to-all",
                [
                    *self._conv(self.high_in, c_out, self.at),
                    *self._conv(self.low_in, c_out, self.at_low),
                    *(cuts if self.high_out else []),
                    *(self._rise() if self.low_in else []),
                    *self._pool(self.low_out, self.at_low),
                    *(self._op("sum", self.low_out, self.at_low) if self.low_in else []),
                ],
            )
        if self.low_in:
            lift = [*self._op("rise", self.low_in, self.reads), *self._join(self.reads)]
            after = [*(self._cut(self.at) if self.high_out else []), *self._pool(self.low_out, self.at_low)]
            whole = self._conv(c_in, c_out, self.at)
            yield "lifted", [*lift, *whole, *(after if self.low_out else [])]
            if self.high_out and self.low_out:
                yield "lifted-high", [*lift, *self._to_each()]

    def _high(self) -> list[Op]:
        """The high output at stride 1, a convolution for each branch that is read."""
        if not self.high_out:
            return []
        return [
            *self._conv(self.high_in, self.high_out, self.at),
            *self._conv(self.low_in, self.high_out, self.at_low),
            *(self._rise() if self.low_in else []),
        ]

    def _merged(self) -> list[Op]:
        """The low output at stride 1 by one convolution."""
        whole = self._conv(self.conv.in_channels, self.low_out, self.at_low)
        return [*self._pool(self.high_in, self.reads_low), *self._join(self.reads_low), *whole]

    def _conv(self, inputs: int, outputs: int, at: Volume, *, groups: int | None = None) -> list[Op]:
        """A convolution with stride 1 over space; none where a side has no channels."""
        if not (inputs and outputs):
            return []
        conv = self.conv
        return [
            map_op(
                "conv",
                inputs,
                outputs,
                at,
                dims=self.dims,
                kernel=conv.kernel,
                groups=groups or conv.groups,
                kernel_time=conv.kernel_time,
                stride_time=conv.stride_time,
                dilation=conv.dilation,
                dilation_time=conv.dilation_time,
            )
        ]

    def _pool(self, channels: int, at: Volume) -> list[Op]:
        if not channels:
            return []
        return [map_op("pool", channels, channels, at, dims=self.dims, kernel=2, stride=2)]

    def _rise(self) -> list[Op]:
        return self._op("rise", self.high_out, self.at)

    def _join(self, at: Volume) -> list[Op]:
        """Both branches of the input as one map."""
        if not (self.high_in and self.low_in):
            return []
        return self._op("concat", self.conv.in_channels, at, groups=self.conv.groups)

    def _cut(self, at: Volume) -> list[Op]:
        return self._op("cut", self.conv.out_channels, at)

    def _op(self, kind: OpKind, channels: int, at: Volume, *, groups: int = 1) -> list[Op]:
        if not channels:
            return []
        return [map_op(kind, channels, channels, at, dims=self.dims, groups=groups)]
