"""Users' networks in a space that was written without them: which backbones it then has, and its proxy."""

from __future__ import annotations

from collections.abc import Sequence

from octnas.backbones import dims_of, is_users, layer_table
from octnas.errors import ArchitectureError, ConversionError, SpaceError, UnknownNameError, unknown_name
from octnas.space.agreement import differing
from octnas.space.members import Members
from octnas.space.schema import Definition

__all__ = ["with_backbones"]

STEP = 4
"""Between two inputs of the proxy that are tried, in px."""


def with_backbones(definition: Definition, chosen: Sequence[str]) -> Definition:
    """A definition with the chosen backbones: its own, in its order, and users' networks, in theirs.

    Where a user's network would not be octave in the same layers in the proxy as in the target, all proxies
    get the target's stem and the smallest input, up to the target's, at which all backbones are.

    Raises:
        UnknownNameError: a backbone that is neither the space's nor a user's.
        FactoryError: a user's network that cannot be made or read.
        SpaceError: one that does not suit the target, or there is no such input.
    """
    for name in chosen:
        if not is_users(name) and name not in definition.backbones:
            error = unknown_name(f"backbone of space {definition.name}", name, definition.backbones)
            raise UnknownNameError(f"{error}, and users' networks as package.module:factory")
    own = tuple(name for name in definition.backbones if name in chosen)
    added = tuple(name for name in dict.fromkeys(chosen) if name not in own)
    changed = definition.model_copy(update={"backbones": (*own, *added)})
    if not added:
        return changed
    for name in added:
        if dims_of(name) == 3 and definition.target.frames is None:
            raise SpaceError(
                f"{name} is a 3D backbone, which takes clips, but {definition.name} is of still images: "
                "search a space of clips (clips-small or video)"
            )
    # its noise was measured on the backbones that it was written for
    proxy = changed.proxy.model_copy(update={"noise_points": None})
    size = definition.target.input_size
    for stem, side in (
        (proxy.stem, proxy.input_size),
        *(
            (definition.target.stem, side)
            for side in range(-(-proxy.input_size // STEP) * STEP, size + 1, STEP)
        ),
    ):
        tried = changed.model_copy(
            update={"proxy": proxy.model_copy(update={"stem": stem, "input_size": side})}
        )
        if all(_agrees(tried, name) for name in changed.backbones):
            return tried
    raise SpaceError(
        f"{definition.name}: {', '.join(added)} must be octave in the same layers in the proxy as at the "
        f"target's {size} px, but are at no input of {proxy.input_size} to {size} px: search them by "
        "themselves, or in a space with another `target.input_size`"
    )


def _agrees(definition: Definition, backbone: str) -> bool:
    """Whether a backbone has the same octave layers in the proxy as in the target, which it can take both."""
    proxy = definition.proxy_of(backbone)
    members = Members(
        backbone=backbone,
        granularity=definition.granularity,
        alphas=definition.alphas,
        downsample=definition.downsample,
        target=definition.target_of(backbone),
    )
    try:
        table = layer_table(backbone, width=proxy.width, stem=proxy.stem)
        _ = members.octave
    except (ArchitectureError, ConversionError):
        return True  # at any input of the proxy; what is wrong is said when the space is made
    if len(table.slots) != len(members.table.slots):
        return True
    try:
        return not any(differing(members, table, proxy.input_size, definition.name))
    except SpaceError:
        return False
