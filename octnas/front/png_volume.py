"""The hypervolume by trial as matplotlib draws it, and how all axes of the PNG look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from octnas.front.palette import GRID, INK, MUTED
from octnas.front.result import SearchResult
from octnas.front.volume import volume_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_volume", "style_axes"]


def style_axes(axes: Axes) -> None:
    """Grid, and spines at the left and below alone."""
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelcolor=INK)


def draw_volume(axes: Axes, result: SearchResult) -> None:
    """Hypervolume by trial as a staircase, above what the yardsticks reach without any candidate."""
    from matplotlib.ticker import MaxNLocator

    style_axes(axes)
    axes.set_xlabel("complete trials (diamonds: yardsticks)", fontsize=10)
    axes.set_ylabel("hypervolume", fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    curve = volume_curve(result)
    axes.set_xlim(0, 1.02 * max(len(result.hypervolume_by_trial), 1))
    axes.set_ylim(curve.low, curve.high)
    if curve.yardsticks:
        axes.axhline(curve.yardsticks, color=MUTED, linewidth=1.2, linestyle=(0, (5, 3)))
        axes.annotate(
            f"yardsticks alone {curve.yardsticks:.4f}",
            (1.0, curve.yardsticks),
            xycoords=("axes fraction", "data"),
            xytext=(-4, -3),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=9,
        )
    xs, ys = [each.number for each in curve.points], [each.volume for each in curve.points]
    axes.plot(xs, ys, color=INK, drawstyle="steps-post")
    for marker, yardstick in (("D", True), ("o", False)):
        part = [each for each in curve.points if (each.record.yardstick is not None) is yardstick]
        xs, ys = [each.number for each in part], [each.volume for each in part]
        axes.scatter(xs, ys, s=22, marker=marker, color=INK, zorder=3)
