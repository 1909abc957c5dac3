"""The picture of `search_quality.py`: hypervolume against epochs, a row for each problem."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from contenders import METHODS
from quality_results import Results
from readings import at, estimate

__all__ = ["draw"]

COLOURS = {
    "thompson": "tab:red",
    "tpe": "tab:blue",
    "tpe grouped": "tab:cyan",
    "nsga2": "tab:green",
    "gp": "tab:purple",
    "random stratified": "tab:orange",
    "random straight": "black",
    "optuna tpe": "tab:brown",
    "optuna nsga2": "tab:olive",
    "uniform alphas": "tab:gray",
}
POINTS = 120
"""Of a line."""


def draw(every: Sequence[Results], path: Path) -> None:
    """Writes the picture: means over seeds with their 95 % intervals; broken lines are with rungs, dotted
    ones are not octnas's."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(
        len(every), 2, figsize=(13, 0.6 + 4.4 * len(every)), squeeze=False, layout="constrained"
    )
    for row, results in zip(grid, every, strict=True):
        epochs = np.unique(np.linspace(1, results.epochs, POINTS).round().astype(int))
        for axes, reading in zip(row, ("found", "chosen"), strict=True):
            for name, curves in results.curves.items():
                values = np.array([at(each.epochs, getattr(each, reading), epochs) for each in curves])
                bands = [estimate(column) for column in values.T]
                style = (
                    "--" if METHODS[name].rungs else "-" if METHODS[name].kind == "engine" else (0, (1, 1.2))
                )
                colour = COLOURS[name.removesuffix(" + rungs")]
                axes.plot(
                    epochs, [each.value for each in bands], color=colour, linestyle=style, label=name, lw=1.4
                )
                axes.fill_between(
                    epochs,
                    [each.low for each in bands],
                    [each.high for each in bands],
                    color=colour,
                    alpha=0.08,
                    lw=0,
                )
            if results.ceiling and reading == "chosen":
                ceiling = float(np.mean(results.ceiling))
                axes.axhline(ceiling, color="gray", lw=1)
                axes.annotate("noise ceiling", (results.epochs, ceiling), ha="right", va="bottom", fontsize=8)
            later = epochs[len(epochs) // 10 :]
            every_curve = [each for curves in results.curves.values() for each in curves]
            shown = np.concatenate([at(each.epochs, each.found, later) for each in every_curve])
            axes.set_ylim(max(0.0, float(np.quantile(shown, 0.02)) - 0.03), 1.01)
            axes.set_title(f"{results.name}: {reading}", fontsize=10)
            axes.set_xlabel("epochs spent")
            axes.grid(alpha=0.3)
        row[0].set_ylabel("share of the true front's hypervolume")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
