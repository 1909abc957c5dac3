"""The front as a picture: one HTML page that draws with no network, or a PNG (`octnas.front.png`)."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from octnas.front.axis import milliseconds, samples
from octnas.front.describe import SLOWER, dims_label, percent, stages, units, what_search
from octnas.front.layers import sort_layers
from octnas.front.plot import front_figure
from octnas.front.plot_volume import volume_figure
from octnas.front.png import write_png
from octnas.front.result import SearchResult
from octnas.front.shared_text import shared_lines, warning_lines
from octnas.front.text import state_counts
from octnas.front.verdict import SEEDS_HEAD, confirmed_lines, verdict_sentences
from octnas.record import TrialRecord

__all__ = ["html_page", "write_html", "write_png"]

_BUTTONS = ["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]
"""What may be done with the picture; Plotly's own list has one that sends it to somebody's server."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #fff; margin: 24px auto;
  max-width: 1150px; padding: 0 16px }}
h1 {{ font-size: 22px; margin: 0 }} p {{ margin: 6px 0; max-width: 75em }} .muted {{ color: #6b7785 }}
.claim {{ font-weight: 600 }} .warn {{ color: #8a4b00 }}
h2 {{ font-size: 16px; margin: 18px 0 0 }} ul {{ margin: 6px 0; padding-left: 20px }}
table {{ border-collapse: collapse; margin: 12px 0; font-variant-numeric: tabular-nums }}
th, td {{ padding: 4px 16px 4px 0; text-align: left; border-bottom: 1px solid #e4e8ec; white-space: nowrap }}
td:last-child {{ white-space: normal; min-width: 24em }}
.wide {{ overflow-x: auto }}
</style></head><body>
<h1>{title}</h1><p class="muted">{subtitle}</p>{verdict}
{figure}
<p class="muted">{units}. Hover a point for its alphas. Crosses at the right edge and triangles at the lower
edge lie beyond it.{pluses}{bars}{cloud}</p>
{volume}{shared}
<div class="wide"><table><thead><tr><th>trial on the front</th><th>GFLOPs</th>{latency}<th>accuracy</th>{head}
<th>backbone</th><th>downsample</th><th>alphas by stage, layer by layer</th></tr></thead><tbody>
{rows}
</tbody></table></div>
</body></html>
"""


_PLUSES = " Marks with a plus are of 3D backbones."

_BARS = """ Bars are means of fresh seeds on validation {samples} with one standard deviation to each side; a
dotted stroke leads to the trial's point, which is the one seed that the search saw and chose by."""

_CLOUD = """ Faint dots are shared scores, on the same axis: what an architecture reaches on the weights
that all of its backbone share, before any training of its own. They widen the picture by a third at most."""

_VOLUME = """<p class="muted">Share of the area below {limit} and accuracy 1 that the front dominates, once
each complete trial was there.</p>"""


def write_html(result: SearchResult, path: str | os.PathLike[str]) -> None:
    """Writes `html_page` to a file of about 5 MB.

    Raises:
        OSError: the file cannot be written.
    """
    Path(path).write_text(html_page(result), encoding="utf-8")


def html_page(result: SearchResult) -> str:
    """The interactive pictures with verdict and table; nothing is fetched when the page is shown."""
    counts = f"{state_counts(result)}; hypervolume {result.hypervolume:.4f}"
    volume = ""
    if result.hypervolume > 0:
        volume = f"<h2>Hypervolume by trial</h2>\n{_drawn(volume_figure(result))}\n"
        volume += _VOLUME.format(limit=_limit_words(result))
    return _PAGE.format(
        title=html.escape(f"{result.axis.subject}: {result.name}"),
        subtitle=html.escape(f"{what_search(result.header)}; {counts}"),
        verdict=_verdict(result),
        figure=_drawn(front_figure(result), library=True),
        pluses=_PLUSES if result.mixed else "",
        bars=_BARS.format(samples=samples(result.header)) if sort_layers(result).confirmed else "",
        cloud=_CLOUD if result.shared is not None and result.shared.scores else "",
        volume=volume,
        shared=_shared(result),
        head="<th>on shared weights</th>" if result.shared is not None else "",
        units=html.escape(units(result.header)),
        latency="<th>ms</th>" if result.timed else "",
        rows="\n".join(_row(record, result) for record in result.front),
    )


def _drawn(figure: Any, *, library: bool = False) -> str:
    config = {"displaylogo": False, "modeBarButtons": [_BUTTONS]}
    drawn = figure.to_html(full_html=False, include_plotlyjs=library, include_mathjax=False, config=config)
    return str(drawn)


def _verdict(result: SearchResult) -> str:
    """The answer, in bold where seeds confirm it, then the rest, and what was measured over seeds."""
    first, *rest = (html.escape(sentence) for sentence in verdict_sentences(result))
    if result.claim is None:
        said = f"<p>{' '.join((first, *rest))}</p>"
    else:
        said = f'<p class="claim">{first}</p><p>{" ".join(rest)}</p>'
    said += "".join(f'<p class="warn">{html.escape(line)}</p>' for line in warning_lines(result))
    lines = confirmed_lines(result)
    return f"{said}<p>{SEEDS_HEAD}</p>{_list(lines)}" if lines else said


def _shared(result: SearchResult) -> str:
    """What is known of shared weights; nothing without any."""
    lines = shared_lines(result)
    return f"<h2>Shared weights</h2>\n{_list(lines)}\n" if lines else ""


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"


def _limit_words(result: SearchResult) -> str:
    return "the budget" if result.budget is not None else result.axis.limit_words


def _row(record: TrialRecord, result: SearchResult) -> str:
    latency = "-" if record.latency_ms is None else milliseconds(record.latency_ms)
    mark = f" ({SLOWER})" if result.slower_than_plain(record) else ""
    cells = (
        f"{record.id}, {record.yardstick}" if record.yardstick else record.id,
        f"{record.gflops:.3f}",
        *([f"{latency}{mark}"] if result.timed else []),
        percent(record.accuracy),
        *([percent(record.shared_accuracy)] if result.shared is not None else []),
        f"{record.architecture.backbone} ({dims_label(record)})"
        if result.mixed
        else record.architecture.backbone,
        record.architecture.downsample,
        "; ".join(stages(record)),
    )
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"
