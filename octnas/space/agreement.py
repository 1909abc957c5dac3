"""What target and proxy of a backbone must have in common: the same layers, octave in both or in neither."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from octnas.architecture import low_channels
from octnas.backbones import LayerTable, Slot, is_users, layer_table
from octnas.errors import ArchitectureError, ConversionError, SpaceError
from octnas.space.members import Members
from octnas.space.schema import Proxy

__all__ = ["check_proxy", "differing"]

MOST_NAMED = 8
"""Alphas that a message lists one by one."""


def check_proxy(members: Members, proxy: Proxy, source: str) -> None:
    """Target and proxy must both have every member: whole and distinct low channels, multiples of the groups
    of grouped layers, in the same octave layers.

    Args:
        proxy: with the width and stem of this backbone in it.
        source: what errors call the space.

    Raises:
        SpaceError: they have not.
    """
    where = f"{source}: {members.backbone}"
    table = _proxy_table(members, proxy, where)
    _check_target(members, where)
    for slot, here in differing(members, table, proxy.input_size, where):
        words = ("can", "cannot") if here else ("cannot", "can")
        key = "`proxy.input_size`" if is_users(members.backbone) else "`proxy.input_size` or `proxy.stem`"
        raise SpaceError(
            f"{where}, {slot.name} {words[0]} be octave at the target's {members.target.input_size} px "
            f"but {words[1]} at the proxy's {proxy.input_size} px: change {key}"
        )
    _check_alphas(members, table, where)


def differing(
    members: Members, proxy: LayerTable, input_size: int, where: str
) -> Iterator[tuple[Slot, bool]]:
    """The slots that are octave in one of target and proxy, and whether in the target.

    Args:
        proxy: the proxy's table, with the same slots.
        input_size: side in px of the proxy's input.

    Raises:
        SpaceError: the network cannot take one of the inputs.
    """
    try:
        here = members.octave
    except ConversionError as error:
        raise SpaceError(f"{where}, `target.input_size`: {error}") from None
    try:
        there = proxy.octave_slots(input_size)
    except ConversionError as error:
        raise SpaceError(f"{where}, `proxy.input_size`: {error}") from None
    for slot, mine, other in zip(members.table.slots, here, there, strict=True):
        if mine != other:
            yield slot, mine


def _proxy_table(members: Members, proxy: Proxy, where: str) -> LayerTable:
    """The proxy's table; the target's must be there too."""
    for key, width in (("target.width", members.target.width), ("proxy.width", proxy.width)):
        try:
            table = layer_table(members.backbone, width=width, stem=proxy.stem)
        except (ArchitectureError, ConversionError) as error:
            raise SpaceError(f"{where}, `{key}`: {error}") from None
    mine, other = ([slot.name for slot in each.slots] for each in (members.table, table))
    if mine != other:
        odd = next((a for a, b in zip(mine, other, strict=False) if a != b), f"layer {len(mine)}")
        raise SpaceError(
            f"{where} must have the same layers to split at width {members.target.width} and at "
            f"{proxy.width}, the proxy's, but differs at {odd}, which may have too few channels there: give "
            "a wider `proxy.width`, or change the factory"
        )
    return table


def _check_target(members: Members, where: str) -> None:
    """A network that has its own number of channels has the target's."""
    target, table = members.target, members.table
    if table.in_channels != target.channels:
        raise SpaceError(
            f"{where} reads {table.in_channels} channels, but `target.channels` is {target.channels}: give "
            f"the factory an `in_channels` argument, or write channels: {table.in_channels}"
        )


def _check_alphas(members: Members, proxy: LayerTable, where: str) -> None:
    for slot in members.slots:
        before, own = -1, proxy.slots[slot.index]
        for alpha in members.alphas:
            low = low_channels(alpha, slot.channels)
            what = f"{where}, {slot.name}: alpha {float(alpha):g} is {low} of {slot.channels} channels"
            if low % slot.multiple:
                shares = _shares(slot.channels // slot.multiple)
                raise SpaceError(
                    f"{what}, no multiple of its {slot.multiple} groups: choose `alphas` of {shares}"
                )
            scaled = Fraction(low * own.channels, slot.channels)
            if scaled.denominator != 1 or scaled == before or scaled % own.multiple:
                fault = "the same as of the alpha before it"
                if scaled.denominator != 1:
                    fault = "not whole"
                elif scaled != before:
                    fault = f"no multiple of its {own.multiple} groups"
                raise SpaceError(
                    f"{what}, in the proxy {float(scaled):g} of {own.channels}, {fault}: choose `alphas` "
                    f"that are different multiples of 1/{own.channels // own.multiple}, "
                    "or a wider `proxy.width`"
                )
            before = int(scaled)


def _shares(parts: int) -> str:
    """ "0, 1/4, 2/4, 3/4, 1"; all of few, or what they are multiples of."""
    if parts > MOST_NAMED:
        return f"multiples of 1/{parts}"
    return ", ".join(["0", *(f"{i}/{parts}" for i in range(1, parts)), "1"])
