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
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.caption = (
        "size: architectures; GFLOPs, smallest to largest: 10^9 multiply-adds of the target network"
    )
    table.caption_justify = "left"
    table.add_column("space", no_wrap=True)
    table.add_column("backbones", overflow="fold", min_width=8)
    table.add_column("alphas by", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("GFLOPs", justify="right", no_wrap=True)
    table.add_column("data", overflow="fold")
    for space in report:
        table.add_row(
            escape(space["name"]),
            " ".join(space["backbones"]),
            space["granularity"],
            f"{space['size']:.3g}" if space["size"] > 10**9 else f"{space['size']:,}",
            f"{space['gflops']['min']:.3f} to {space['gflops']['max']:.3f}",
            escape(space["data"]),
        )
    return table
