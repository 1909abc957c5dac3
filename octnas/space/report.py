"""The catalog of search spaces as JSON values and as a table for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from octnas.space.catalog import catalog, load_space

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["catalog_report", "catalog_table"]


def catalog_report() -> list[dict[str, Any]]:
    """Every space that comes with octnas: what it searches, its size, and its GFLOPs (10^9 multiply-adds)."""
    spaces = (load_space(name) for name in catalog())
    return [
        {
            "name": space.name,
            "description": space.description,
            "backbones": list(space.backbones),
            "granularity": space.granularity,
            "alphas": [float(alpha) for alpha in space.alphas],
            "size": space.size(),
            "gflops": {"min": space.min_gflops, "median": space.median_gflops, "max": space.max_gflops},
            "input_size": space.target.input_size,
            "data": space.proxy.data,
        }
        for space in spaces
    ]


def catalog_table(report: list[dict[str, Any]]) -> Table:
    """The catalog for a terminal."""
    from rich.table import Table

    table = Table(
        "space",
        "backbones",
        "alphas by",
        "architectures",
        "GFLOPs: min",
        "max",
        "data",
        caption="GFLOPs are 10^9 multiply-adds of the target network",
    )
    for space in report:
        table.add_row(
            space["name"],
            ", ".join(space["backbones"]),
            space["granularity"],
            f"{space['size']:.3g}" if space["size"] > 10**12 else f"{space['size']:,}",
            f"{space['gflops']['min']:.3f}",
            f"{space['gflops']['max']:.3f}",
            space["data"],
        )
    return table
