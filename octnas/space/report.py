"""The catalog of search spaces as JSON values and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from octnas.backbones import dims_of
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
            "dims": {name: dims_of(name) for name in space.backbones},
            "granularity": space.granularity,
            "alphas": [float(alpha) for alpha in space.alphas],
            "size": space.size(),
            "gflops": {"min": space.min_gflops, "median": space.median_gflops, "max": space.max_gflops},
            "budget_gflops": space.definition.budget_gflops,
            "input": "x".join(map(str, space.target.input_shape)),
            "input_size": space.target.input_size,
            "frames": space.target.frames,
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
        "input: of the target network, channels x (frames x) height x width; size: architectures; "
        "GFLOPs, smallest and largest: 10^9 multiply-adds of the target network"
    )
    table.caption_justify = "left"
    longest = max((len(name) for space in report for name in space["backbones"]), default=0)
    table.add_column("space", no_wrap=True)
    table.add_column("backbones", overflow="fold", min_width=longest)
    table.add_column("input, data,\nalphas by")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("GFLOPs", justify="right", no_wrap=True)
    for space in report:
        table.add_row(
            escape(space["name"]),
            "\n".join(_by_dims(space["dims"])),
            "\n".join((space["input"], escape(space["data"]), space["granularity"])),
            f"{space['size']:.3g}" if space["size"] > 10**7 else f"{space['size']:,}",
            f"{space['gflops']['min']:.3f}\nto {space['gflops']['max']:.3f}",
            end_section=True,
        )
    return table


def _by_dims(dims: dict[str, int]) -> Iterator[str]:
    """A line for the backbones of images, and one for those of clips."""
    for kind in sorted(set(dims.values())):
        yield f"{kind}D: " + " ".join(name for name, own in dims.items() if own == kind)
