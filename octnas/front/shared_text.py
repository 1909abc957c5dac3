"""Shared weights in sentences, each with its figures: supernets, scores, agreement, predictor, warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from octnas.counted import counted
from octnas.front.correlation import Agreement
from octnas.front.describe import percent
from octnas.front.result import SearchResult
from octnas.front.trust import LOW_TAU
from octnas.record import SupernetRecord

__all__ = [
    "SHARED_HEAD",
    "agreement_words",
    "is_low",
    "shared_lines",
    "supernet_words",
    "warning_lines",
]

SHARED_HEAD = "Shared weights:"
"""What stands above `shared_lines`."""

WIDE = 0.6
"""Width of tau's interval from which on it does not tell tau from `LOW_TAU`, where that lies inside."""


def shared_lines(result: SearchResult) -> list[str]:
    """A line for each supernet, for the scores, for their agreement with the search's own trainings, and for
    the predictor; none where the search has no shared weights."""
    shared = result.shared
    if shared is None:
        return []
    lines = [f"{each.backbone}: {supernet_words(each)}" for each in shared.supernets]
    if shared.asked or shared.scores:
        of = f" of {shared.asked:,}" if shared.asked and shared.asked != len(shared.scores) else ""
        accuracies = [each.accuracy for each in shared.scores]
        ends = f": {percent(min(accuracies))} to {percent(max(accuracies))}" if accuracies else ""
        lines.append(
            f"{len(shared.scores):,}{of} architectures scored on these weights, before any training of their "
            f"own{ends}"
        )
    if result.trials:
        lines.append(_agreement_line(result.agreement))
    if shared.predictor is not None:
        lines.append(_predictor_line(shared.predictor))
    return lines


def supernet_words(record: SupernetRecord) -> str:
    """ "complete after 8 epochs, plain network 61.20 % on shared weights, 92 s", with the reason if any."""
    state = "under way" if record.state == "running" else record.state
    plain = "" if record.accuracy is None else f", plain network {percent(record.accuracy)} on shared weights"
    reason = f": {record.reason}" if record.reason else ""
    return f"{state} after {counted(record.epochs, 'epoch')}{plain}, {record.seconds:.0f} s{reason}"


def agreement_words(own: Agreement) -> str:
    """ "0.62, 95 % interval 0.31 to 0.83, 18 trials"."""
    assert own.tau is not None
    return f"{own.tau:.2f}{_interval(own.tau_interval)}, {own.count} trials"


def is_low(own: Agreement) -> bool:
    """Whether the agreement is known well enough to say that it is under `LOW_TAU`."""
    return own.tau is not None and own.tau < LOW_TAU and not _is_wide(own)


def warning_lines(result: SearchResult) -> list[str]:
    """What speaks against the order in which the search sees architectures; none: nothing was found."""
    lines = []
    if result.shared is not None and is_low(result.agreement):
        tau = agreement_words(result.agreement)
        lines.append(
            f"Kendall's tau of shared scores, by their losses, with this search's trainings is {tau}: under "
            f"{LOW_TAU:g}, so good architectures may have been passed over. These trials were chosen by "
            f"their shared scores, which narrows the range and lowers tau; `octnas rank {result.name}` "
            "measures it over a spread of architectures."
        )
    if result.rank_warning is not None:
        lines.append(result.rank_warning)
    return lines


def _agreement_line(own: Agreement) -> str:
    if own.tau is None or own.tau_interval is None:
        what = f"{own.count or 'no'} complete trial{'' if own.count == 1 else 's'} with a shared score"
        return f"{what}: too few to say how shared scores agree with trainings"
    unsure = f": too few to tell whether it is above {LOW_TAU:g}" if _is_wide(own) else ""
    tau = f"{agreement_words(own)}{unsure}"
    return f"Kendall's tau of shared scores, by their losses, with this search's trainings {tau}"


def _is_wide(own: Agreement) -> bool:
    if own.tau_interval is None:
        return True
    low, high = own.tau_interval
    return low < LOW_TAU <= high and high - low > WIDE


def _predictor_line(said: Mapping[str, Any]) -> str:
    if said["tau"] is None:
        return f"predictor not used: {said['scored']:,} scores are too few to learn from, or all the same"
    held = f"held-out tau {said['tau']:.2f}{_interval(said['tau_interval'])}, {said['scored']:,} scores"
    others = f"{said['baseline']:.2f} by backbone and GFLOPs alone, {said['noise']:.2f} by shuffled scores"
    if not said["useful"]:
        return f"predictor not used, as it is not surely better than what else ranks: {held}; {others}"
    return f"predictor: {held} ({others}); it ranked {said['ranked']:,} more for scoring"


def _interval(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f", 95 % interval {interval[0]:.2f} to {interval[1]:.2f}"
