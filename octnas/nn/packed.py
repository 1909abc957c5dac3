"""The training form of narrow networks: one tensor a map, one convolution a layer, on a processor.

A narrow octave layer is a dozen operations on maps of a few channels, each of which takes longer to start, or
to walk over its pixels, than to compute. Here a map with low channels is *packed*: the four pixels of every
2x2 window of the high branch lie side by side as channels, before the low channels,

    (high (B, h, H, W), low (B, l, H/2, W/2))  ->  (B, 4 h + l, H/2, W/2),

and then pooling, upsampling and concatenation are parts of one ordinary convolution, whose kernel holds each
weight of the dense kernel at up to four places (see `octnas.nn.packed_kernels`). A layer takes more
multiply-adds than in branches and far less time, as long as it is narrow. All numbers are the network's own
to rounding, running statistics included.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from octnas.backbones import Add, Conv, Head, LayerTable, Node, Pool
from octnas.nn.maps import pool
from octnas.nn.network import OctaveNetwork
from octnas.nn.norm import OctBatchNorm2d
from octnas.nn.packed_kernels import Kernels, channel_means, moved_channels
from octnas.nn.packed_norm import Channels, normalise

__all__ = ["WIDEST", "PackedForward", "packs"]

WIDEST = 8
"""Width (channels of the first stage) up to which a packed network is faster: in bfloat16 a step of ResNet-26
takes .89, .87 and .71 of its time at alpha .25, .5 and .75, in float32 1.05, 1.02 and .82; at width 16 it is
slower in both."""
Size = tuple[int, int]


def packs(network: nn.Module, size: Size, *, device: str, dtype: torch.dtype) -> bool:
    """Whether the packed form of this network exists for images of this size (H, W), and pays.

    Args:
        device: type of the device, "cpu" or "cuda".
        dtype: number format of the convolutions.
    """
    if not isinstance(network, OctaveNetwork) or device != "cpu" or dtype != torch.bfloat16:
        return False
    if network.dims != 2 or not all(_is_known(node) for node in network.table.nodes):
        return False
    lows, sizes = _lows(network), network.table.sizes(*size)
    even = all(
        not lows[name] or (height % 2 == 0 and width % 2 == 0)
        for name, (height, width) in sizes.items()
        if name in lows
    )
    return any(lows.values()) and even and network.architecture.width <= WIDEST


def _is_known(node: Node) -> bool:
    """Whether a node is one of a ResNet, of which the packed form knows all."""
    match node:
        case Conv():
            return (
                (node.groups, node.layout) == (1, 1) and node.norm is not None and node.activation != "relu6"
            )
        case Pool():
            return node.how == "max"
        case Add():
            return node.activation == "relu"
        case Head():
            return True
        case _:
            return False


class PackedForward:
    """Calls a network in packed form: images (B, C, H, W) to logits, in training and in evaluation.

    It holds no parameters of its own: gradients and running statistics are the network's. Images must have
    a size that `packs`.
    """

    def __init__(self, network: OctaveNetwork) -> None:
        self._network = network
        self._lows = _lows(network)
        self._convs = {conv.name: conv for conv in network.table.convs}
        self._strides = {
            conv.name: conv.stride == 2
            and (self._octave(conv) or network.architecture.downsample == "pooled")
            and conv.slot is not None
            for conv in network.table.convs
        }
        self._ends = {node.reads[0] for node in network.table.nodes if isinstance(node, Add)}
        """Convolutions whose normalisation waits for the residual sum that it is computed with."""
        self._last = _last_reads(network.table)
        self._kernels = Kernels(
            (conv.out_channels, conv.in_channels, conv.kernel, self._low_in(conv), self._lows[conv.name])
            for conv in network.table.convs
        )
        self._channels = {
            conv.name: Channels.of(conv.out_channels, self._lows[conv.name])
            for conv in network.table.convs
            if self._lows[conv.name]
        }

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (B, classes), in the number format in which the network itself gives them."""
        autocasts = torch.is_autocast_enabled(images.device.type)
        dtype = torch.get_autocast_dtype(images.device.type) if autocasts else images.dtype
        with torch.autocast(images.device.type, enabled=False):
            return self._logits(images.to(dtype))

    def _logits(self, images: Tensor) -> Tensor:
        network = self._network
        weights = [network.get_parameter(f"{name}.weight") for name in self._convs]
        kernels = dict(zip(self._convs, self._kernels(weights, images.dtype), strict=True))
        if network.training:
            counters = [
                network.get_buffer(f"{conv.norm}.num_batches_tracked") for conv in self._convs.values()
            ]
            torch._foreach_add_(counters, 1)
        maps: dict[str, Tensor] = {"input": images}
        for node in network.table.nodes:
            match node:
                case Conv():
                    here = self._conv(node, maps[node.reads], kernels[node.name])
                    if node.name not in self._ends:
                        here = self._normalised(node, here, relu=node.activation is not None)
                case Pool():
                    here = F.max_pool2d(maps[node.reads], node.kernel, node.stride, node.padding)
                case Add():
                    body, shortcut = node.reads
                    rest = self._repartitioned(maps[shortcut], shortcut, body)
                    here = self._normalised(self._convs[body], maps[body], relu=True, shortcut=rest)
                case Head():
                    return self._head(node, maps[node.reads])
            maps[node.name] = here
            for name in self._last[node.name]:
                del maps[name]
        raise AssertionError("a layer table ends in its head")

    def _conv(self, node: Conv, x: Tensor, kernel: Tensor) -> Tensor:
        low_in, low_out = self._lows[node.reads], self._lows[node.name]
        if self._strides[node.name]:
            x = F.conv2d(x, channel_means(node.in_channels, low_in, x.dtype)) if low_in else pool(x)
            low_in = 0
        if not low_in and not low_out:
            stride = 1 if self._strides[node.name] else node.stride
            return F.conv2d(x, kernel, None, stride, node.padding)
        out = F.conv2d(x if low_in else _pack(x), kernel, None, 1, node.padding)
        return out if low_out else _unpack(out)

    def _normalised(self, conv: Conv, x: Tensor, *, relu: bool, shortcut: Tensor | None = None) -> Tensor:
        norm = self._network.get_submodule(conv.norm or "")
        assert isinstance(norm, OctBatchNorm2d)
        if conv.name in self._channels:
            return normalise(x, norm, self._channels[conv.name], shortcut=shortcut, relu=relu)
        out = F.batch_norm(
            x,
            norm.running_mean,
            norm.running_var,
            norm.weight,
            norm.bias,
            norm.training,
            norm.momentum or 0.0,
            norm.eps,
        )
        if shortcut is not None:
            out = out.add_(shortcut)
        return out.relu_() if relu else out

    def _repartitioned(self, x: Tensor, name: str, like: str) -> Tensor:
        before, after = self._lows[name], self._lows[like]
        if before == after:
            return x
        channels = self._convs[like].out_channels
        moved = F.conv2d(x if before else _pack(x), moved_channels(channels, before, after, x.dtype))
        return moved if after else _unpack(moved)

    def _head(self, node: Head, x: Tensor) -> Tensor:
        means, low = x.mean((2, 3)), self._lows[node.reads]
        if low:
            means = F.linear(means, channel_means(node.in_channels, low, x.dtype).flatten(1))
        linear = self._network.get_submodule(node.name)
        assert isinstance(linear, nn.Linear)
        return F.linear(means, linear.weight.to(x.dtype), linear.bias.to(x.dtype))

    def _octave(self, conv: Conv) -> bool:
        return bool(self._lows[conv.reads] or self._lows[conv.name])

    def _low_in(self, conv: Conv) -> int:
        """Low channels that the kernel reads: none at stride 2, where the merged map is all of one size."""
        return 0 if conv.stride == 2 else self._lows[conv.reads]


def _last_reads(table: LayerTable) -> dict[str, list[str]]:
    """For each node the maps that no later one reads."""
    reader: dict[str, str] = {}
    for node in table.nodes:
        for name in (node.reads,) if isinstance(node.reads, str) else node.reads:
            reader[name] = node.name
    last: dict[str, list[str]] = {node.name: [] for node in table.nodes}
    for name, node_name in reader.items():
        last[node_name].append(name)
    return last


def _lows(network: OctaveNetwork) -> dict[str, int]:
    return network.table.lows(network.architecture.low_channels)


def _pack(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 4 C, H/2, W/2), channels last."""
    images, channels, height, width = x.shape
    windows = x.permute(0, 2, 3, 1).reshape(images, height // 2, 2, width // 2, 2, channels)
    packed = windows.transpose(2, 3).reshape(images, height // 2, width // 2, 4 * channels)
    return packed.permute(0, 3, 1, 2)


def _unpack(x: Tensor) -> Tensor:
    """(B, 4 C, H, W) -> (B, C, 2 H, 2 W), channels last."""
    images, channels, height, width = x.shape
    windows = x.permute(0, 2, 3, 1).reshape(images, height, width, 2, 2, channels // 4)
    spread = windows.transpose(2, 3).reshape(images, 2 * height, 2 * width, channels // 4)
    return spread.permute(0, 3, 1, 2)
