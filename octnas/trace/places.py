"""Stages and blocks of a user's network: who chooses an alpha together, and whose output decides for whom.

A block is the innermost module of the user's, other than a sequence, in which two convolutions or more stand
and at most one halving; a convolution in none is a block by itself. A new stage begins where the maps that
blocks give change their size. What comes before the first convolution that may be split is stage 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from octnas.trace.drafts import Draft

__all__ = ["Place", "placed"]

Place = tuple[int, int]
"""Stage and block."""
Size = tuple[int, int]


def placed(
    drafts: Sequence[Draft], modules: Mapping[str, nn.Module], sizes: Mapping[Draft, Size]
) -> dict[Draft, Place]:
    """The stage and the block of every draft.

    Args:
        modules: of the network, by path.
        sizes: (H, W) of every map at the traced input.
    """
    blocks_by_path = _block_paths(drafts, modules, sizes)
    blocks: list[list[Draft]] = []
    current: str | None = None
    for draft in drafts:
        key = _block_module(draft, blocks_by_path)
        if not blocks or _begins(draft, key, current, blocks[-1]):
            blocks.append([])
            current = key
        blocks[-1].append(draft)
    places: dict[Draft, Place] = {}
    stage, block, size = 0, -1, None
    for members in blocks:
        splits = any(draft.splits for draft in members)
        block += 1
        if splits:
            maps = (draft for draft in reversed(members) if draft.is_map and draft.kind != "plain")
            given = next((sizes[draft] for draft in maps), None)
            if given != size:
                stage, block, size = stage + 1, 0, given
        for draft in members:
            places[draft] = (stage, block)
    return places


def _begins(draft: Draft, key: str | None, current: str | None, members: Sequence[Draft]) -> bool:
    """Whether a draft begins a block of its own."""
    if key is not None or current is not None:
        # of what follows a block, only what is no layer of another one stays with it
        return key != current and (key is not None or draft.splits or draft.kind in ("pool", "norm", "conv"))
    if draft.splits:
        return True
    # a pooling between convolutions must not decide for the one before it
    return draft.kind == "pool" and any(member.splits for member in members)


def _block_paths(
    drafts: Sequence[Draft], modules: Mapping[str, nn.Module], sizes: Mapping[Draft, Size]
) -> set[str]:
    """The modules that can be a block."""
    sides: dict[str, list[int]] = {}
    for draft in drafts:
        if draft.kind == "conv" and draft.splits:
            for path in _above(draft.name):
                sides.setdefault(path, []).append(min(sizes[draft]))
    return {
        path
        for path, found in sides.items()
        if len(found) > 1 and max(found) <= 2 * min(found) and not isinstance(modules[path], nn.Sequential)
    }


def _block_module(draft: Draft, blocks: set[str]) -> str | None:
    path = draft.name if draft.kind == "conv" else draft.scope
    return next((above for above in _above(path, itself=draft.kind != "conv") if above in blocks), None)


def _above(path: str, *, itself: bool = False) -> list[str]:
    """The paths of the modules that a module is in, the innermost first; without the network's own."""
    names = path.split(".")
    found = [".".join(names[:count]) for count in range(len(names), 0, -1)]
    return found if itself else found[1:]
