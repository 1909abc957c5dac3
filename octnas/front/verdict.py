"""Whether a search beat one alpha everywhere: sentences, each with its figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from octnas.counted import counted
from octnas.front.axis import Axis, milliseconds
from octnas.front.claim import Claim
from octnas.front.describe import SLOWER, is_uniform, percent, points, trial_label
from octnas.front.result import SearchResult
from octnas.record import TrialRecord, TrialState
from octnas.record.spread import Spread, on_test, on_validation

__all__ = [
    "SEEDS_HEAD",
    "claim_sentence",
    "confirmed_lines",
    "seeds_line",
    "slower_sentences",
    "verdict",
    "verdict_sentences",
]

SEEDS_HEAD = "Over fresh seeds, mean ± standard deviation:"
"""What stands above `confirmed_lines`."""

_NAMED = 4
"""Members of the front that `slower_sentences` names, at most."""


def verdict(result: SearchResult, noise_points: float | None = None) -> str:
    """`verdict_sentences` as one paragraph."""
    return " ".join(verdict_sentences(result, noise_points))


def verdict_sentences(result: SearchResult, noise_points: float | None = None) -> list[str]:
    """Whether the search beats one alpha everywhere, the answer first.

    Candidates are compared with the most accurate uniform yardstick within the budgets at its cost or below
    (latency, where that is the search's objective): over confirming seeds where both have them
    (`claim_sentence`), else by the search's single seed; and with the plain network with pooled downsampling.
    Members of the front that are slower than plain are named.

    Args:
        result: the search.
        noise_points: standard deviation of accuracy from seed to seed, in percentage points; by default what
            the search recorded. The difference of two single seeds varies by sqrt(2) of it, so differences of
            less than twice that are called noise.
    """
    noise = result.noise_points if noise_points is None else noise_points
    done = [
        record for record in result.trials if record.state is TrialState.COMPLETE and record.within_budget
    ]
    candidates = [record for record in done if record.yardstick is None]
    if result.header.options.get("kind") == "supernet":
        return [
            "These are shared weights by themselves, without trials: `octnas search --init shared --supernet "
            f"{result.name}` searches with them."
        ]
    if not candidates:
        return ["No candidate is complete, so nothing can be said about the search yet."]
    claim = result.claim
    if claim is None:
        uniform = [record for record in done if is_uniform(record)]
        sentences = [_against_uniform(candidates, uniform, noise, result.axis)]
    else:
        sentences = [claim_sentence(claim)]
    if result.best is None:
        sentences.append("Every member of the front is a yardstick.")
    top = _most_accurate(candidates, result.axis)
    sentences += _against_plain(top, result.trials, noise, result.axis)
    sentences += slower_sentences(result)
    seen = _largest_spread(result)
    if noise is not None and seen > noise:
        sentences.append(
            f"Accuracy varies by {noise:.2f} points (standard deviation) from seed to seed where that was "
            f"measured for this proxy, and by {seen:.2f} points over this search's fresh seeds: differences "
            f"of single seeds under {_threshold(seen):.2f} points are noise."
        )
    elif noise is not None:
        sentences.append(
            f"Accuracy varies by {noise:.2f} points (standard deviation) from seed to seed, so single-seed "
            f"differences under {_threshold(noise):.2f} points are noise."
        )
    elif claim is None:
        sentences.append(
            "Each accuracy is of one seed; the noise between seeds was not measured for this proxy."
        )
    else:
        sentences.append("Every other accuracy is of one seed.")
    return sentences


def claim_sentence(claim: Claim) -> str:
    """What the confirming seeds allow to be said, with the difference and its interval."""
    ours = statistics.fmean(claim.candidate_accuracies)
    theirs = statistics.fmean(claim.yardstick_accuracies)
    axis = claim.axis
    where = f"{percent(ours)} at {axis.figures(claim.candidate)}"
    bar = f"{percent(theirs)} at {axis.figures(claim.yardstick)}"
    heads = {
        "beats": "The search beats the best uniform yardstick",
        "does not beat": "The search does not beat the best uniform yardstick",
        "cannot be told apart": "The search and the best uniform yardstick cannot be told apart",
    }
    images = f"test {claim.samples}"
    if claim.images == "validation":
        images = (
            f"validation {claim.samples}, which also chose the two, as the data has no test {claim.samples}"
        )
    count = len(claim.seeds)
    if claim.interval is None:
        sure = f"; {count} paired {'seed is' if count == 1 else 'seeds are'} too few for an interval"
    else:
        low, high = claim.interval
        sure = f", 95 % interval {low:+.2f} to {high:+.2f} points, {count} paired seeds"
    side = "more" if claim.difference >= 0 else "less"
    return (
        f"{heads[claim.outcome]} at equal or lower {axis.quantity}: "
        f"{trial_label(claim.candidate)} ({where}) against {trial_label(claim.yardstick)} ({bar}), "
        f"{points(claim.difference / 100)} {side} with "
        f"{axis.shares(claim.candidate, claim.yardstick)}{sure} (means over fresh seeds, {images}"
        f"{axis.whose})."
    )


def slower_sentences(result: SearchResult) -> list[str]:
    """Which members of the front are predicted to be slower than their plain networks; none: nothing.

    The best candidate is named first.
    """
    best = None if result.best is None else result.best.id
    slower = [each for each in result.front if result.slower_than_plain(each)]
    slower.sort(key=lambda each: each.id != best)
    if not slower:
        return []
    plain = result.header.options["plain_latency_ms"]
    named = []
    for record in slower[:_NAMED]:
        backbone = record.architecture.backbone
        whose = "the best candidate, " if record.id == best else ""
        ours, theirs = milliseconds(record.latency_ms or 0.0), milliseconds(float(plain[backbone]))
        named.append(f"{whose}{trial_label(record)}, {ours} ms against {theirs} ms of the plain {backbone}")
    more = f"; and {len(slower) - _NAMED} more of the front" if len(slower) > _NAMED else ""
    return [f"{SLOWER[0].upper()}{SLOWER[1:]} than plain as predicted: {'; '.join(named)}{more}."]


def confirmed_lines(result: SearchResult) -> list[str]:
    """One line for each trial that was trained with further seeds, by cost."""
    lines = []
    for record in sorted(result.trials, key=result.axis.cost):
        seeds = seeds_line(record)
        if seeds:
            lines.append(f"{trial_label(record)}: {seeds}")
    return lines


def seeds_line(record: TrialRecord) -> str:
    """The accuracies over confirming seeds, means with one standard deviation; "" where there are none."""
    found, test = on_validation(record), on_test(record)
    if found is None:
        return ""
    tested = "" if test is None else f", test {_spread(test)}"
    return f"validation {_spread(found)}{tested} ({counted(found.count, 'seed')})"


def _spread(spread: Spread) -> str:
    """ "92.10 ± 0.30 %"; the spread of one seed is unknown."""
    sd = "" if spread.sd is None else f" ± {100 * spread.sd:.2f}"
    return f"{100 * spread.mean:.2f}{sd} %"


def _against_uniform(
    candidates: Sequence[TrialRecord], uniform: Sequence[TrialRecord], noise: float | None, axis: Axis
) -> str:
    if not uniform:
        return "No uniform yardstick is complete within the budget, so there is nothing to beat yet."
    bar = _most_accurate(uniform, axis)
    where = f"{trial_label(bar)} ({percent(bar.accuracy)} at {axis.figures(bar)})"
    equal = [record for record in candidates if axis.cost(record) <= axis.cost(bar)]
    if not equal:
        little = "costs as little" if axis.objective == "gflops" else "is as fast"
        return f"No complete candidate {little} as the best uniform yardstick, {where}{axis.whose}."
    top = _most_accurate(equal, axis)
    gap = (top.accuracy or 0.0) - (bar.accuracy or 0.0)
    what = f"{trial_label(top)} ({percent(top.accuracy)} at {axis.figures(top)})"
    if noise is not None and abs(100 * gap) < _threshold(noise):
        side = "more" if gap >= 0 else "less"
        return (
            f"The search and the best uniform yardstick do not differ beyond seed noise at equal or lower "
            f"{axis.quantity}: {what} against {where}, {points(gap)} {side} with "
            f"{axis.shares(top, bar)}{axis.whose}."
        )
    if gap > 0:
        return (
            f"By one seed each the search is ahead of the best uniform yardstick at equal or lower "
            f"{axis.quantity}: {what} against {where}, {points(gap)} more{axis.whose}. "
            "No further seeds confirm that."
        )
    if gap == 0 and axis.cost(top) < axis.cost(bar):
        return (
            f"By one seed each the search equals the best uniform yardstick at lower {axis.quantity}: {what} "
            f"against {where}{axis.whose}. No further seeds confirm that."
        )
    return (
        f"The search does not beat the best uniform yardstick at equal or lower {axis.quantity}: its best "
        f"there is {what} against {where}, {points(gap)} less{axis.whose}."
    )


def _against_plain(
    top: TrialRecord, trials: Sequence[TrialRecord], noise: float | None, axis: Axis
) -> list[str]:
    plain = [each for each in trials if each.yardstick == "plain-pooled" and each.accuracy is not None]
    plain = [each for each in plain if each.state is TrialState.COMPLETE]
    if not plain:
        return []
    bar = max(plain, key=axis.cost)
    gap = (top.accuracy or 0.0) - (bar.accuracy or 0.0)
    side = "above" if gap >= 0 else "below"
    over = "" if bar.within_budget else ", which is over the budget"
    return [
        f"The most accurate candidate, {trial_label(top)}, is {points(gap)} {side} the plain "
        f"pooled {bar.architecture.backbone} ({percent(bar.accuracy)} at {axis.figures(bar)}{over}) "
        f"with {axis.shares(top, bar)}{_noise_note(gap, noise)}."
    ]


def _most_accurate(records: Sequence[TrialRecord], axis: Axis) -> TrialRecord:
    """Ties go to the cheaper."""
    return max(records, key=lambda each: (each.accuracy or 0.0, -axis.cost(each)))


def _largest_spread(result: SearchResult) -> float:
    """Largest standard deviation over the fresh seeds of a trial, in percentage points; 0 without any."""
    spreads = [on_validation(record) for record in result.trials]
    return max((100 * each.sd for each in spreads if each is not None and each.sd is not None), default=0.0)


def _noise_note(gap: float, noise: float | None) -> str:
    return " (within seed noise)" if noise is not None and abs(100 * gap) < _threshold(noise) else ""


def _threshold(noise: float) -> float:
    """Twice the standard deviation of the difference of two seeds."""
    return 2 * math.sqrt(2) * noise
