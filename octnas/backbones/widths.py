"""Channel numbers at other widths than the published one."""

from __future__ import annotations

from octnas.errors import ArchitectureError

__all__ = ["PUBLISHED", "scaled"]

PUBLISHED = 64
"""The width of the published networks: that of a ResNet's stem."""


def scaled(number: int, width: int, *, name: str) -> int:
    """A published number of channels (or of groups) at another width.

    Args:
        name: the backbone, for the message.

    Raises:
        ArchitectureError: it would not be whole.
    """
    if number * width % PUBLISHED:
        raise ArchitectureError(
            f"channels x width / {PUBLISHED} must be whole, but a layer of {name} has {number} and "
            f"width={width}: choose another width"
        )
    return number * width // PUBLISHED
