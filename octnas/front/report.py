"""The front as a tracking store shows it: a description, tables, a page and pictures."""

from __future__ import annotations

import csv
import io
import statistics

from octnas.front.axis import budget_words, milliseconds
from octnas.front.claim import Claim
from octnas.front.describe import SLOWER, dims_label, mean_alphas, network_lines, percent, units
from octnas.front.picture import html_page
from octnas.front.png import png_bytes
from octnas.front.result import SearchResult
from octnas.front.shared import Shared
from octnas.front.shared_text import SHARED_HEAD, shared_lines, warning_lines
from octnas.front.text import state_counts
from octnas.front.verdict import SEEDS_HEAD, confirmed_lines, verdict_sentences
from octnas.record import FrontReport
from octnas.record.links import RunLinks
from octnas.record.tracking_values import seed_values

__all__ = ["front_report"]

_COLUMNS = (
    "id",
    "yardstick",
    "gflops",
    "latency_ms",
    "slower_than_plain",
    "accuracy",
    "on_front",
    "backbone",
    "dims",
    "alphas",
    "downsample",
    "state",
    "reason",
    "within_budget",
    "loss",
    "params",
    "epochs",
    "seconds",
    "accuracy_seed_mean",
    "accuracy_seed_sd",
    "test_accuracy_mean",
    "test_accuracy_sd",
    "shared_accuracy",
)


_SMALL_PX = 640
_SPACE = "&emsp;"
"""Sets the columns apart: MLflow's page puts no space between them."""


def front_report(result: SearchResult, links: RunLinks | None = None) -> FrontReport:
    """Description, front.csv, trials.csv, front.html and front.png of a search as it stands, front-small.png,
    which the description shows, and shared.csv with its shared scores, if it has any weights that are shared.

    Args:
        result: of the search.
        links: from the page to the runs in MLflow, as far as these are there.
    """
    front = {record.id for record in result.front}
    picture = png_bytes(result)
    return FrontReport(
        note=_note(result),
        hypervolume=result.hypervolume,
        front_size=len(front),
        finished=sum(record.state.final for record in result.trials),
        files={
            "front.csv": _table(result, front),
            "trials.csv": _table(result, {record.id for record in result.trials}),
            "front.html": html_page(result, links=None if links is None else {result.name: links}),
            "front.png": picture,
            "front-small.png": _small(picture),
            **({} if result.shared is None else {"shared.csv": _scores(result.shared)}),
        },
        hypervolumes=tuple(volume for _, volume in result.hypervolume_by_trial),
        claim=_claim_values(result.claim),
        shared=_shared_values(result),
        outcome=None if result.claim is None else result.claim.outcome,
        front=tuple(record.id for record in result.front),
    )


def _small(picture: bytes) -> bytes:
    """The picture 640 px wide: MLflow's page draws those of a description as wide as they are, and pushes out
    of the window what is beside them."""
    from PIL import Image

    whole, small = Image.open(io.BytesIO(picture)).convert("RGB"), io.BytesIO()
    size = (_SMALL_PX, round(whole.height * _SMALL_PX / whole.width))
    whole.resize(size, Image.Resampling.LANCZOS).save(small, format="PNG", optimize=True)
    return small.getvalue()


def _claim_values(claim: Claim | None) -> dict[str, float]:
    """The figures of the claim by metric's name; differences are in percentage points."""
    if claim is None:
        return {}
    values = {
        "claim_difference_points": claim.difference,
        "claim_seeds": float(len(claim.seeds)),
        "claim_candidate_accuracy": statistics.fmean(claim.candidate_accuracies),
        "claim_yardstick_accuracy": statistics.fmean(claim.yardstick_accuracies),
    }
    if claim.interval is not None:
        values["claim_low_points"], values["claim_high_points"] = claim.interval
    return values


def _shared_values(result: SearchResult) -> dict[str, float]:
    """The figures of shared weights by metric's name; what is not known is left out."""
    if result.shared is None:
        return {}
    own, predictor = result.agreement, result.shared.predictor or {}
    low, high = own.tau_interval or (None, None)
    values = {
        "shared_scored": float(len(result.shared.scores)),
        "shared_tau": None if low is None else own.tau,  # of three trials it says nothing
        "shared_tau_low": low,
        "shared_tau_high": high,
        "predictor_tau": predictor.get("tau"),
        **{f"supernet_accuracy/{each.backbone}": each.accuracy for each in result.shared.supernets},
    }
    return {name: value for name, value in values.items() if value is not None}


def _note(result: SearchResult) -> str:
    """What was found, in Markdown: in two sentences, then the rest of the verdict, and the front beside the
    yardsticks."""
    if result.best is None:
        found = f"**No candidate is on the front yet** ({state_counts(result)})."
    else:
        best = result.best
        found = (
            f"**Best candidate: trial {best.id}**, {best.architecture.backbone}, {percent(best.accuracy)} at "
            f"{result.axis.figures(best)} under a budget of {budget_words(result.header)}."
        )
    first, *rest = verdict_sentences(result)
    parts = [f"{found} {first}", *([" ".join(rest)] if rest else []), *_markdown_table(result)]
    if confirmed := confirmed_lines(result):
        parts.append("\n".join((f"{SEEDS_HEAD}\n", *(f"- {line}" for line in confirmed))))
    if lines := shared_lines(result):
        parts.append("\n".join((f"{SHARED_HEAD}\n", *(f"- {line}" for line in lines))))
    if lines := network_lines(result.header.options):
        parts.append("\n".join(f"- {line}" for line in lines))
    parts += [f"**{line}**" for line in warning_lines(result)]
    parts.append(f"{units(result.header)}. {state_counts(result)}.")
    return "\n\n".join(parts)


def _markdown_table(result: SearchResult) -> list[str]:
    """The front and the yardsticks by cost; nothing where there are none."""
    if not result.compared:
        return []
    front = {record.id for record in result.front}
    timed, shared = result.timed, result.shared is not None
    heads = (
        "trial",
        "GFLOPs",
        *(("ms",) if timed else ()),
        "accuracy",
        *(("on shared weights",) if shared else ()),
        "backbone",
        *(("dims",) if result.mixed else ()),
        "mean alpha by stage",
        "",
    )
    rows = [f"| {' | '.join(f'{head}{_SPACE}' for head in heads)} |", f"|{'---|' * len(heads)}"]
    for record in result.compared:
        place = "front" if record.id in front else "" if record.within_budget else "over budget"
        label = f"{record.id} {record.yardstick}" if record.yardstick else record.id
        if result.slower_than_plain(record):
            place = f"{place}, {SLOWER}" if place else SLOWER
        latency = "-" if record.latency_ms is None else milliseconds(record.latency_ms)
        rows.append(
            f"| {label}{_SPACE} | {record.gflops:.3f} |{f' {latency} |' if timed else ''} "
            f"{percent(record.accuracy)} |{f' {percent(record.shared_accuracy)} |' if shared else ''} "
            f"{record.architecture.backbone} |"
            f"{f' {dims_label(record)} |' if result.mixed else ''} {mean_alphas(record)} | {place} |"
        )
    return ["\n".join(rows)]


def _table(result: SearchResult, ids: set[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    front = {record.id for record in result.front}
    for record in sorted(result.trials, key=lambda each: (result.axis.cost(each), each.id)):
        if record.id in ids:
            row = {
                **dict.fromkeys(_COLUMNS),
                **record.summary(),
                **seed_values(record),
                "slower_than_plain": result.slower_than_plain(record),
                "on_front": record.id in front,
                "alphas": " ".join(f"{each:.3g}" for each in record.architecture.alphas),
            }
            writer.writerow(["" if row[column] is None else row[column] for column in _COLUMNS])
    return text.getvalue()


def _scores(shared: Shared) -> str:
    """Every shared score, in the order of scoring."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("digest", "backbone", "gflops", "latency_ms", "shared_accuracy", "loss", "low_channels"))
    for each in shared.scores:
        architecture = each.architecture
        row = (
            architecture.digest,
            architecture.backbone,
            each.gflops,
            each.latency_ms,
            each.accuracy,
            each.loss,
        )
        lows = " ".join(map(str, architecture.low_channels))
        writer.writerow([*("" if value is None else value for value in row), lows])
    return text.getvalue()
