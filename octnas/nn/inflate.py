"""Inflation: the weights of a 2D network as those of a 3D one (Carreira & Zisserman 2017)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from octnas.backbones import Conv
from octnas.errors import ArchitectureError
from octnas.nn.network import OctaveNetwork

__all__ = ["inflate"]


@torch.no_grad()
def inflate(state_dict: Mapping[str, Tensor], network: OctaveNetwork) -> tuple[str, ...]:
    """Loads the state dict of a 2D network into a 3D network of the same depth and widths.

    Convolutions, normalisations and fully connected layers are matched in their order, which is the order of
    names where both have the same ones. A kernel is repeated over time and divided by its number of frames,
    so that on a clip of equal frames a convolution gives what the 2D one gives on the frame. The stem is left
    out where it is another one (of other channels, or of another size), and so is the classifier where it has
    other classes.

    Returns:
        Names of the parameters of `network` that were left as they are.

    Raises:
        ArchitectureError: the network is not 3D, the state dict is not of a 2D network, or it is of another
            depth or of other widths.
    """
    if network.dims != 3:
        raise ArchitectureError(
            f"inflation is into 3D networks, but {network.architecture.backbone} is 2D: "
            "load the state dict as it is"
        )
    source, target = _layers(state_dict), _layers(network.state_dict())
    if any(weight.ndim == 5 for weight in state_dict.values()):
        raise ArchitectureError(
            "inflation is of 2D networks, but the state dict has 3D kernels: load it as it is"
        )
    left: list[str] = []
    fitting: list[tuple[Tensor, Tensor]] = []
    for kind, wanted in target.items():
        given = source[kind]
        if len(given) != len(wanted):
            raise ArchitectureError(
                f"inflation needs a 2D network of the same depth, but the state dict has {len(given)} "
                f"{kind} where {network.architecture.backbone} has {len(wanted)}"
            )
        for (theirs, tensors), (ours, own) in zip(given.items(), wanted.items(), strict=True):
            found = {name: _inflated(tensor, own[name]) for name, tensor in tensors.items() if name in own}
            if found.keys() != own.keys() or any(found[n].shape != own[n].shape for n in own):
                if ours not in _loose(network):
                    raise _unlike(network, ours, own, theirs, tensors)
                left += [f"{ours}.{name}" for name in own]
                continue
            fitting += [(own[name], tensor) for name, tensor in found.items()]
    for mine, tensor in fitting:
        mine.copy_(tensor)
    return tuple(left)


def _layers(state_dict: Mapping[str, Tensor]) -> dict[str, dict[str, dict[str, Tensor]]]:
    """By kind and by path of the layer: its tensors."""
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state_dict.items():
        path, _, name = key.rpartition(".")
        layers.setdefault(path, {})[name] = tensor
    kinds: dict[str, dict[str, dict[str, Tensor]]] = {
        "convolutions": {},
        "normalisations": {},
        "fully connected layers": {},
    }
    for path, tensors in layers.items():
        if "running_mean" in tensors:
            kinds["normalisations"][path] = tensors
        elif "weight" in tensors:
            flat = tensors["weight"].ndim == 2
            kinds["fully connected layers" if flat else "convolutions"][path] = tensors
    return kinds


def _inflated(tensor: Tensor, like: Tensor) -> Tensor:
    """A kernel (C_out, C_in, k, k) as (C_out, C_in, k_T, k, k); anything else as it is."""
    if tensor.ndim != 4 or like.ndim != 5:
        return tensor
    frames = like.shape[2]
    return tensor.unsqueeze(2).expand(-1, -1, frames, -1, -1) / frames


def _loose(network: OctaveNetwork) -> set[str]:
    """Paths of the layers that need not fit: the first convolution and the classifier."""
    first = next(node for node in network.table.nodes if isinstance(node, Conv))
    return {first.name, network.table.nodes[-1].name}


def _unlike(
    network: OctaveNetwork,
    ours: str,
    own: Mapping[str, Tensor],
    theirs: str,
    tensors: Mapping[str, Tensor],
) -> ArchitectureError:
    shape, other = tuple(own["weight"].shape), tuple(tensors["weight"].shape)
    return ArchitectureError(
        f"inflation needs a 2D network of the same widths, but {theirs} of the state dict is {other} and "
        f"{ours} of {network.architecture.backbone} is {shape}: choose the width of the 2D network"
    )
