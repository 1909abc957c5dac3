"""The report of a dry run for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from octnas.engine.sizing import TIMED_STEPS
from octnas.front.axis import milliseconds

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["dry_run_table"]


def dry_run_table(report: Mapping[str, Any]) -> Table:
    """The report for a terminal."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.caption = "GFLOPs: 10^9 multiply-adds of the target network"
    if "device" in report:
        table.caption += f"; ms: predicted for {escape(report['device'])}"
    table.caption_justify = "left"
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    gflops = report["gflops"]
    rows = {
        "space": report["space"],
        "architectures": f"{report['size']:,}" if report["size"] < 10**9 else f"{report['size']:.3g}",
        "GFLOPs": f"{gflops['min']:.3f} to {gflops['max']:.3f}, median {gflops['median']:.3f}",
        **_latency_rows(report),
        "budget": f"{_budgets(report)}, {'' if report['reachable'] else 'not '}reachable",
        "within the budget": f"{_about(report)}{report['feasible_share']:.3g} of the space",
    }
    if report["reachable"]:
        rows["backbones within it"] = ", ".join(report["feasible"]["backbones"])
        rows["yardsticks"] = "\n".join(
            f"{each['label']} {each['backbone']}, {each['gflops']:.3f} GFLOPs{_ms(each)}"
            f"{'' if each['within_budget'] else ', over the budget'}"
            for each in report["yardsticks"]
        )
    if "estimate" in report:
        rows |= _estimate_rows(report["estimate"])
    for key, value in rows.items():
        table.add_row(key, escape(value))
    return table


def _latency_rows(report: Mapping[str, Any]) -> dict[str, str]:
    if "latency_ms" not in report:
        return {}
    ms = {name: milliseconds(value) for name, value in report["latency_ms"].items()}
    return {"ms": f"{ms['min']} to {ms['max']}, median {ms['median']}"}


def _budgets(report: Mapping[str, Any]) -> str:
    budgets = ((report["budget_gflops"], "GFLOPs"), (report.get("budget_ms"), "ms"))
    return " and ".join(f"{value:g} {unit}" for value, unit in budgets if value is not None)


def _about(report: Mapping[str, Any]) -> str:
    return "about " if report.get("feasible", {}).get("estimated") else ""


def _ms(yardstick: Mapping[str, Any]) -> str:
    return f", {milliseconds(yardstick['latency_ms'])} ms" if "latency_ms" in yardstick else ""


def _estimate_rows(estimate: Mapping[str, Any]) -> dict[str, str]:
    trainings = estimate["trainings"]
    each = ", ".join(f"{name} {_duration(value)}" for name, value in estimate["training_seconds"].items())
    hungriest, most = max(estimate["peak_memory_mb"].items(), key=lambda each: each[1])
    whole, rungs = _duration(estimate["search_seconds"]), _duration(estimate["search_seconds_with_rungs"])
    planned = f"{trainings['candidates']} candidates, {trainings['yardsticks']} yardsticks"
    if trainings["confirming"]:
        planned += (
            f"; {trainings['confirming']} more at most confirm the winner, about "
            f"{_duration(estimate['confirm_seconds'])} of the times below"
        )
    return {
        **_shared_rows(estimate),
        "a whole training": f"{each} (from {TIMED_STEPS} timed steps each on this machine)",
        "memory of a training": f"{most:,} MB at most, {hungriest}",
        "trainings": planned,
        "search, expected": f"{rungs}, poor candidates stopped early",
        "search, upper bound": f"{whole}, nothing stopped early; {estimate['cpu_hours']:.2g} core-hours, "
        f"{estimate['gpu_hours']:.2g} GPU-hours",
        "trainings at once": str(estimate["workers"]),
    }


def _shared_rows(estimate: Mapping[str, Any]) -> dict[str, str]:
    if "shared_seconds" not in estimate:
        return {}
    each = ", ".join(f"{name} {_duration(value)}" for name, value in estimate["supernet_seconds"].items())
    return {
        "supernets": each,
        "shared scores": f"{estimate['scored']} architectures in {_duration(estimate['scoring_seconds'])}; "
        f"with the supernets {_duration(estimate['shared_seconds'])} of the times below",
    }


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
