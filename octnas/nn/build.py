"""From an architecture to its network."""

from __future__ import annotations

from torch import nn

from octnas.architecture import Architecture
from octnas.backbones import family_of, is_users
from octnas.nn.converted import ConvertedNetwork
from octnas.nn.network import OctaveNetwork

__all__ = ["build"]


def build(
    arch: Architecture, num_classes: int = 1000, in_channels: int = 3, *, zero_init_residual: bool = False
) -> OctaveNetwork:
    """The network of an architecture, with fresh weights; see `OctaveNetwork.reset_parameters`.

    torchvision's state dict of the same backbone loads strictly, and with no low channels and strided
    downsampling the network equals torchvision's. A user's network has the weights that their factory gives
    it, whatever `zero_init_residual` says, and equals it with no low channels.

    Raises:
        ArchitectureError: a user's network with another number of classes or of input channels, which its
            factory does not let one choose.
    """
    if is_users(arch.backbone):
        family = family_of(arch.backbone)
        assert family.network is not None
        module: nn.Module = family.network(width=arch.width, in_channels=in_channels, num_classes=num_classes)
        table = arch.table(in_channels=in_channels, num_classes=num_classes)
        return ConvertedNetwork(arch, table=table, source=module)
    return OctaveNetwork(
        arch, num_classes=num_classes, in_channels=in_channels, zero_init_residual=zero_init_residual
    )
