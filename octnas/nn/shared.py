"""Many architectures on one set of weights.

A convolution's parameters do not depend on alpha, so one network's parameters are those of every architecture
of its backbone, at no extra parameter. Only batch-norm statistics differ: each architecture has its own.
"""

from __future__ import annotations

from octnas.architecture import Architecture
from octnas.errors import ArchitectureError
from octnas.nn.network import OctaveNetwork

__all__ = ["share"]


def share(network: OctaveNetwork, architecture: Architecture) -> OctaveNetwork:
    """The network of another architecture on the very parameters of `network`.

    An optimiser's step on one of them is a step on both. Batch-norm statistics are the new network's own and
    fresh (mean 0, variance 1): estimate them (`octnas.train.recalibrate`) before it is evaluated.

    Raises:
        ArchitectureError: another backbone, width or stem, whose parameters have other shapes.
    """
    for what in ("backbone", "width", "stem"):
        mine, other = getattr(network.architecture, what), getattr(architecture, what)
        if mine != other:
            raise ArchitectureError(
                f"networks share weights only with the same {what}, but got {other!r} and {mine!r}"
            )
    return network.twin(architecture)
