"""What the interactive picture says of a point under the pointer."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator

from octnas.front.axis import cost_words, milliseconds
from octnas.front.describe import SLOWER_NOTE, dims_label, percent, stages, start_words, trial_label
from octnas.front.layers import Layers
from octnas.front.result import SearchResult
from octnas.front.verdict import seeds_line
from octnas.record import SharedScore, TrialRecord

__all__ = ["score_hover", "trial_hover"]

_LETTERS = 80
"""In a line of alphas: a stage of a deep backbone has dozens."""


def trial_hover(record: TrialRecord, layers: Layers, result: SearchResult) -> str:
    """A trial's figures and alphas, in HTML."""
    reason = f" ({record.reason})" if record.reason else ""
    seeds = seeds_line(record)
    shared = record.shared_accuracy
    lines = [
        f"<b>{html.escape(trial_label(record))}</b>",
        html.escape(
            f"accuracy {percent(record.accuracy)} of the proxy{start_words(result.header)} after "
            f"{record.epochs} validations"
        ),
        *([f"on shared weights, before that training: {percent(shared)}"] if shared is not None else []),
        *([f"fresh seeds: {html.escape(seeds)}"] if seeds else []),
        html.escape(f"{record.state}{reason}"),
        f"{cost_words(record)}, {record.params / 1e6:.2f} M parameters of the target",
        *([f"<b>{SLOWER_NOTE}</b>"] if record in layers.slower else []),
        f"{dims_label(record)} backbone, alphas by stage, {html.escape(record.architecture.downsample)} "
        "downsampling:",
        *_alphas(record),
    ]
    return "<br>".join(lines)


def score_hover(score: SharedScore, trained: str | None) -> str:
    """The same of a shared score, in few letters: there may be thousands on a page.

    Args:
        trained: the trial that trained the architecture.
    """
    cost = f"{score.gflops:.3f} GFLOPs"
    if score.latency_ms is not None:
        cost += f", {milliseconds(score.latency_ms)} ms"
    lines = [
        f"<b>{percent(score.accuracy)} on shared weights</b>",
        "not trained by itself" if trained is None else f"trained as trial {html.escape(trained)}",
        f"{html.escape(score.architecture.backbone)}, {cost}, alphas by stage:",
        *_alphas(score),
    ]
    return "<br>".join(lines)


def _alphas(of: TrialRecord | SharedScore) -> Iterator[str]:
    for stage in stages(of):
        for line in textwrap.wrap(stage, _LETTERS, subsequent_indent="    "):
            yield html.escape(f"  {line}")
