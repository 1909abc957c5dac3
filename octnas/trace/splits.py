"""Which maps of a user's network may be split, and in which layout; what has to stay plain for that.

The rules are those of the built-in tables: every convolution but those that read the input owns a slot; a
convolution in a shortcut shares the slot of the body that it is added to; on both sides of a grouped
convolution the low channels are the last of each group. A layer that cannot follow the order of the channels
that it reads is faulty, and has to read them at full resolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch.nn.modules.conv import _ConvNd

from octnas.trace.drafts import Draft, chain_back

__all__ = ["Part", "settled"]


@dataclass(frozen=True, slots=True)
class Part:
    """Channels of a map that the slot of one convolution splits (None: never)."""

    owner: Draft | None
    channels: int
    groups: int = 1


Parts = tuple[Part, ...]


def settled(
    drafts: list[Draft], channels: Mapping[Draft, int]
) -> tuple[dict[Draft, Parts], dict[Draft, str]]:
    """Decides what is split: sets `splits`, `layout`, `shortcut_of` and the order of what a sum reads.

    Args:
        drafts: in the order of execution.
        channels: of every draft's value: its second dimension, or 0.

    Returns:
        For each draft what its output consists of; and the faulty ones, each with its reason.
    """
    for draft in drafts:
        if draft.kind == "conv":
            draft.splits = list(chain_back(draft.reads[0]))[-1].kind != "input" and channels[draft] > 1
    for draft in drafts:
        if draft.kind == "conv" and draft.splits:
            draft.layout = _layout(draft, channels[draft])
            if _groups(draft) > 1 and any(end.kind == "add" for end in _ends(draft)):
                draft.splits, draft.layout = False, 1  # low channels of groups are not those of a sum
    _order_and_share(drafts)
    parts: dict[Draft, Parts] = {}
    faults: dict[Draft, str] = {}
    for draft in drafts:
        fault = _fault(draft, parts)
        if fault is not None:
            faults[draft] = fault
        parts[draft] = (
            _parts(draft, parts, channels[draft]) if fault is None else (Part(None, channels[draft]),)
        )
    return parts, faults


def _parts(draft: Draft, parts: Mapping[Draft, Parts], channels: int) -> Parts:
    if draft.kind == "conv":
        owner = (draft.shortcut_of or draft) if draft.splits else None
        return (Part(owner, channels, draft.layout),)
    if draft.passes or draft.kind == "add":
        return parts[draft.reads[0]]
    if draft.kind == "concat":
        found = tuple(part for source in draft.reads for part in parts[source])
        return found if any(part.owner for part in found) else (Part(None, channels),)
    return (Part(None, channels),)


def _fault(draft: Draft, parts: Mapping[Draft, Parts]) -> str | None:
    """Why a layer cannot follow the order of the channels that it reads."""
    if draft.kind == "conv" and (groups := _groups(draft)) != 1:
        read = parts[draft.reads[0]]
        wanted = 1 if _is_depthwise(draft) else groups
        if all(part.owner is None for part in read):
            return None
        if len(read) > 1:
            return "a grouped convolution that reads a concatenation"
        if read[0].groups != wanted:
            what = "a depthwise convolution behind" if wanted == 1 else "a convolution of"
            other = read[0].groups if wanted == 1 else wanted
            return f"{what} {other} groups, which are not those of the map that it reads"
    if draft.kind == "add":
        first, second = (parts[source] for source in draft.reads)
        if first != second and not (_is_simple(first) and _is_simple(second)):
            return "a sum of maps whose low channels would be different ones"
    return None


def _is_simple(parts: Parts) -> bool:
    return len(parts) == 1 and parts[0].groups == 1


def _layout(conv: Draft, channels: int) -> int:
    """Groups of a convolution's output: its own, or those of the grouped convolution that reads it."""
    if _is_depthwise(conv):
        return 1
    if _groups(conv) > 1:
        return _groups(conv)
    ends = list(_ends(conv))
    if any(end.kind == "add" or _is_depthwise(end) for end in ends):
        return 1
    wanted = [_groups(end) for end in ends if _groups(end) > 1]
    return wanted[0] if wanted and channels % wanted[0] == 0 else 1


def _ends(draft: Draft) -> Iterator[Draft]:
    """What reads a draft's channels in the end, behind activations and the like."""
    for reader in draft.readers:
        if reader.passes and reader.reads[0] is draft:
            yield from _ends(reader)
        else:
            yield reader


def _order_and_share(drafts: list[Draft]) -> None:
    """Puts the body of each sum first, and lets a shortcut's convolution share the slot of the body's."""
    depth: dict[Draft, int] = {}
    for draft in drafts:
        before = max((depth[source] for source in draft.reads), default=0)
        depth[draft] = before + (draft.kind == "conv")
        if draft.kind != "add":
            continue
        ends = {source: list(chain_back(source))[-1] for source in draft.reads}

        def rank(source: Draft, ends: Mapping[Draft, Draft] = ends) -> tuple[bool, int]:
            end = ends[source]
            return end.kind == "conv" and end.splits, depth[end]

        draft.reads.sort(key=rank, reverse=True)
        body, shortcut = (ends[source] for source in draft.reads)
        alone = all(len(each.readers) == 1 for each in chain_back(draft.reads[1]))
        if alone and body is not shortcut and all(_is_sharing(each) for each in (body, shortcut)):
            shortcut.shortcut_of = body.shortcut_of or body


def _is_sharing(draft: Draft) -> bool:
    return draft.kind == "conv" and draft.splits and draft.layout == 1 and draft.shortcut_of is None


def _groups(draft: Draft) -> int:
    return draft.module.groups if draft.kind == "conv" and isinstance(draft.module, _ConvNd) else 1


def _is_depthwise(draft: Draft) -> bool:
    module = draft.module
    return draft.kind == "conv" and isinstance(module, _ConvNd) and 1 < module.groups == module.in_channels
