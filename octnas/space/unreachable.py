"""What to say where a budget admits nothing: the smallest reachable costs, and what to raise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from octnas.architecture import Downsample
from octnas.space.graph import ChoiceGraph
from octnas.space.limited import Bound
from octnas.space.members import Members
from octnas.space.optimum import Optimum
from octnas.space.region import Path

__all__ = ["Candidates", "unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """The members with one backbone that downsample one way."""

    members: Members
    downsample: Downsample
    macs: ChoiceGraph
    ns: ChoiceGraph | None
    """The same paths with predicted nanoseconds; None where time is not limited."""

    def words(self, path: Path) -> str:
        """ "resnet50 with alphas up to 0.5"."""
        arch = self.members.architecture(path, self.downsample)
        return f"{arch.backbone} with alphas up to {max(arch.alphas):g}"


def unreachable(
    candidates: Sequence[Candidates],
    *,
    space: str,
    gflops: float | None,
    macs: int | None,
    ms: float | None,
    ns: int | None,
) -> str:
    """One line on budgets that no candidate is inside of.

    Args:
        gflops: the budget; `macs` is the same in multiply-adds, or both are None.
        ms: the budget; `ns` is the same in nanoseconds, or both are None.
    """
    law: list[str] = []
    found: list[str] = []
    remedy: list[str] = []
    if gflops is not None and macs is not None:
        cheapest = min(candidates, key=lambda each: each.macs.min_cost)
        if cheapest.macs.min_cost > macs:
            figure, enough = _figures(cheapest.macs.min_cost, 10**9)
            law.append(f"costs {gflops:g} GFLOPs or less")
            found.append(f"{figure} GFLOPs (multiply-adds), {cheapest.words(cheapest.macs.smallest())}")
            remedy.append(f"--budget-gflops to {enough}")
    if ms is not None and ns is not None:
        least, fastest, path = _fastest(candidates, None)
        if least > ns:
            figure, enough = _figures(least, 10**6)
            law.append(f"takes {ms:g} ms or less by the device's profile")
            found.append(f"{figure} ms, {fastest.words(path)}")
            remedy.append(f"--budget-ms to {enough}")
        elif not law:
            least, fastest, path = _fastest(candidates, macs)
            figure, enough = _figures(least, 10**6)
            return (
                f"no member costs {gflops:g} GFLOPs or less and takes {ms:g} ms or less by the device's "
                f"profile: within {gflops:g} GFLOPs (multiply-adds) the smallest reachable latency of space "
                f"{space} is {figure} ms, {fastest.words(path)}: raise --budget-ms to {enough} or more, or "
                "--budget-gflops, or choose a smaller --space or --backbone"
            )
    plural = len(found) > 1
    return (
        f"no member {' or '.join(law)}: the smallest reachable cost{'s' if plural else ''} of space {space} "
        f"{'are' if plural else 'is'} {' and '.join(found)}: raise {' and '.join(remedy)} or more, or choose "
        "a smaller --space or --backbone"
    )


def _fastest(candidates: Sequence[Candidates], macs: int | None) -> tuple[int, Candidates, Path]:
    """The least latency in ns of all, or of those that cost at most `macs`, which some do; whose it is."""
    best: tuple[int, Candidates, Path] | None = None
    for each in candidates:
        assert each.ns is not None
        path = each.ns.smallest()
        if macs is not None:
            bound = Bound(cost="gflops", graph=each.macs, cap=macs)
            if bound.span < 0:
                continue
            scores = [-cost.astype(np.float64) for cost in each.ns.reduced]
            fast = Optimum(each.macs, bound.span, scores)
            path = fast.path(len(fast.values) - 1)
        least = each.ns.cost(path)
        if best is None or least < best[0]:
            best = least, each, path
    assert best is not None
    return best


def _figures(value: int, unit: int) -> tuple[str, str]:
    """`value` in units with 3 decimals or, below .1, 3 significant digits; and rounded up, so that it works
    when it is typed."""
    digits = 3 if 10 * value >= unit else 2 + len(str(unit // max(value, 1)))
    enough = -(-value * 10**digits // unit) / 10**digits
    return f"{value / unit:.{digits}f}", f"{enough:.{digits}f}"
