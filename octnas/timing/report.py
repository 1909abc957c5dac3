"""A latency for a terminal, from the values that `latency --json` prints; loads no tensor library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from octnas.counted import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["latency_table", "latency_text", "slower_text"]

WIDE = 0.15
"""Distance of the quartiles, as a share of the median, from which on a reader should be wary."""


def latency_table(report: Mapping[str, Any]) -> RenderableType:
    """The network and its plain twin in two rows, what they ran on, and what to think of it."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("network", box=box.SIMPLE_HEAD, caption_justify="left")
    for title in ("latency", "middle half", "GFLOPs"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, prefix in ((_name(report), ""), ("plain network", "plain_")):
        low, high = report[f"{prefix}latency_quartiles_ms"]
        table.add_row(
            name,
            f"{report[f'{prefix}latency_ms']:.4g} ms",
            f"{low:.4g} to {high:.4g}",
            f"{report[f'{prefix}gflops']:.4g}",
        )
    low, high = report["ratio_quartiles"]
    table.add_row(
        "ratio", f"{report['ratio']:.3f}", f"{low:.3f} to {high:.3f}", f"{report['flops_ratio']:.3f}"
    )
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [
        f"device: {report['device']}",
        f"runtime: {report['runtime']}, {report['precision']}, {counted(report['threads'], 'thread')}, "
        f"batch {report['batch']}, input {report['input']}, {report['classes']} classes",
        f"versions: {versions}",
        f"medians of {report['rounds']} rounds in turns; GFLOPs: 10^9 multiply-adds per {_each(report)}",
    ]
    if max(_scatter(report, ""), _scatter(report, "plain_")) > WIDE:
        lines.append("the times scatter: something else kept this device busy, or its clock changed")
    if report["slower"]:
        lines.append(slower_text(report))
    return Group(table, Text("\n".join(lines)))


def latency_text(report: Mapping[str, Any], of: str) -> str:
    """One line: "OF takes 3.21 ms on ..., .62 of its plain network's 5.18 ms ..."."""
    text = (
        f"{of}: {report['latency_ms']:.4g} ms, {report['ratio']:.3f} of its plain network's "
        f"{report['plain_latency_ms']:.4g} ms, at {report['flops_ratio']:.3f} of its FLOPs "
        f"({report['runtime']}, {counted(report['threads'], 'thread')}, batch {report['batch']}, "
        f"{report['device']})"
    )
    return f"{text}\n{slower_text(report)}" if report["slower"] else text


def slower_text(report: Mapping[str, Any]) -> str:
    """The sentence for a network that is slower than its plain twin."""
    fewer = "fewer FLOPs, slower" if report["flops_ratio"] < 1 else "slower"
    return (
        f"{fewer}: {report['flops_ratio']:.3f} of the plain network's FLOPs take {report['ratio']:.3f} of "
        "its time on this device"
    )


def _scatter(report: Mapping[str, Any], prefix: str) -> float:
    low, high = report[f"{prefix}latency_quartiles_ms"]
    return float((high - low) / report[f"{prefix}latency_ms"])


def _name(report: Mapping[str, Any]) -> str:
    return f"{report['backbone']} {report['digest']} ({report['downsample']})"


def _each(report: Mapping[str, Any]) -> str:
    return "clip" if report["input"].count("x") == 3 else "image"
