"""The cost of one architecture as JSON values and as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from octnas.architecture import Architecture
from octnas.backbones import Plain, is_users
from octnas.costs.network import cost

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["cost_report", "cost_table"]

NAMED = 4
"""Layers of one line of a user's code that are named; of more the number."""


def cost_report(
    arch: Architecture,
    *,
    input_shape: Sequence[int] | None = None,
    num_classes: int = 1000,
    verify: bool = False,
    by_layer: bool = False,
) -> dict[str, Any]:
    """What `octnas cost` prints; see `octnas.costs.cost` for the arguments.

    Args:
        verify: also count the built network with thop and with PyTorch's counter (loads torch).
        by_layer: also list every layer, and of a user's network what stays plain, and why.
    """
    shape = arch.input_shape(input_shape)
    total = cost(arch, input_shape=shape, num_classes=num_classes)
    table = arch.table(in_channels=shape[0], num_classes=num_classes)
    report: dict[str, Any] = {
        "backbone": arch.backbone,
        "dims": arch.dims,
        "input": "x".join(map(str, shape)),
        "gflops": total.gflops,
        "params": total.params,
        "activation_elements": total.activation_elements,
        "macs": total.macs,
        "classes": table.num_classes,
        "width": arch.width,
        "stem": arch.stem,
        "downsample": arch.downsample,
        "digest": arch.digest,
        "low_channels": list(arch.low_channels),
    }
    if verify:
        from octnas.costs.counted import count

        counted = count(arch, shape, table.num_classes)
        report["verify"] = {
            "thop_gflops": counted.thop_gflops,
            "pytorch_gflops": counted.pytorch_gflops,
            "params": counted.params,
            "equal": counted.thop_macs + counted.unseen_macs == counted.pytorch_macs == total.macs
            and counted.params == total.params,
            **({"thop_unseen_gflops": counted.unseen_macs / 1e9} if counted.unseen_macs else {}),
        }
    if by_layer:
        report["layers"] = [
            {
                "name": layer.name,
                "stage": layer.stage,
                "channels": layer.channels,
                "low": layer.low,
                "macs": layer.macs,
                "plain_macs": layer.plain_macs,
            }
            for layer in total.layers
        ]
        if is_users(arch.backbone):
            macs = {layer.name: layer.macs for layer in total.layers}
            report["plain"] = [
                {
                    "name": node.name,
                    "what": node.what,
                    "why": node.why,
                    "where": node.where,
                    "gflops": macs.get(node.name, 0) / 1e9,
                }
                for node in table.nodes
                if isinstance(node, Plain) and node.why is not None
            ]
            report["plain"] += [
                {"name": each.name, "what": each.what, "why": each.why, "where": each.where, "gflops": 0.0}
                for each in table.left_out
            ]
    return report


def cost_table(report: Mapping[str, Any]) -> RenderableType:
    """The report for a terminal; GFLOPs are 10^9 multiply-adds."""
    from rich import box
    from rich.console import Group
    from rich.table import Table

    shape = report["input"].split("x")
    head = Table("", "", box=box.SIMPLE_HEAD, show_header=False)
    clip = len(shape) == 4
    batch = f"one clip of {shape[1]} frames" if clip else "batch 1"
    head.caption, head.caption_justify = f"GFLOPs: 10^9 multiply-adds, {batch}", "left"
    if clip and report["dims"] == 2:
        head.title = f"{shape[1]} frames, one by one: {report['backbone']} is 2D"
        head.title_justify = "left"
    # a user's network has the stem that it has, and is whole at its own width
    form = [] if is_users(report["backbone"]) and report["width"] == 64 else [f"width {report['width']}"]
    if not is_users(report["backbone"]):
        form.append(f"{report['stem']} stem")
    for key, value in {
        "backbone": ", ".join([report["backbone"], *form, report["downsample"]]),
        "input": f"{report['input']}, {report['classes']} classes",
        "GFLOPs": f"{report['gflops']:.3f}",
        "parameters": f"{report['params']:,}",
        "activation elements": f"{report['activation_elements']:,}",
    }.items():
        head.add_row(key, value)
    parts: list[RenderableType] = [head]
    if "verify" in report:
        parts.append(_verify_table(report))
    if "layers" in report:
        parts.append(_layer_table(report["layers"]))
    if "plain" in report:
        parts.append(_plain_text(report["plain"]))
    return Group(*parts)


def _verify_table(report: Mapping[str, Any]) -> RenderableType:
    from rich import box
    from rich.table import Table

    counted = report["verify"]
    table = Table("counted by", box=box.SIMPLE_HEAD, caption_justify="left")
    for title in ("GFLOPs", "parameters"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_row("octnas, closed form", f"{report['gflops']:.9f}", f"{report['params']:,}")
    table.add_row("thop, on the network", f"{counted['thop_gflops']:.9f}", f"{counted['params']:,}")
    table.add_row(
        "PyTorch, halved, on the network", f"{counted['pytorch_gflops']:.9f}", f"{counted['params']:,}"
    )
    unseen = counted.get("thop_unseen_gflops")
    words = "all equal" if unseen is None else f"all equal with {unseen:.9f} of functions, unseen by thop"
    table.caption = words if counted["equal"] else "THEY DIFFER"
    return table


def _layer_table(layers: list[dict[str, Any]]) -> RenderableType:
    """Every layer, stage by stage; each stage ends with its sum, and the table with the network's."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
    table.title, table.title_justify = "10^6 multiply-adds of every layer", "left"
    table.add_column("layer", f"all {len(layers)} layers", overflow="fold")
    sums = ["", *_sums(layers)]
    for title, footer in zip(("low/all", "octave", "plain", "share"), sums, strict=True):
        table.add_column(title, footer, justify="right")
    for stage, members in groupby(layers, key=lambda layer: layer["stage"]):
        of_stage = list(members)
        for layer in of_stage:
            table.add_row(layer["name"], f"{layer['low']}/{layer['channels']}", *_sums([layer]))
        if len(of_stage) > 1:
            table.add_row(f"stage {stage}, {len(of_stage)} layers", "", *_sums(of_stage), style="bold")
        table.add_section()
    return table


def _plain_text(plain: list[dict[str, Any]]) -> RenderableType:
    """What stays plain in a user's network, and why; calls of one line of their code together."""
    from rich.text import Text

    if not plain:
        return Text("Nothing stays plain that could be octave.")
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for each in plain:
        groups.setdefault((each["what"], each["why"], each["where"]), []).append(each)
    lines = ["What stays plain, at full resolution:"]
    for (what, why, where), members in groups.items():
        names = ", ".join(each["name"] for each in members[:NAMED])
        more = f" and {len(members) - NAMED} more" if len(members) > NAMED else ""
        macs = sum(each["gflops"] for each in members)
        cost = f", {1e3 * macs:.2f} x 10^6 multiply-adds" if macs else ""
        lines.append(f"  {what}{f' at {where}' if where else ''}: {why}")
        lines.append(f"    {names}{more}{cost}")
    return Text("\n".join(lines))


def _sums(layers: list[dict[str, Any]]) -> list[str]:
    """10^6 multiply-adds, those of the plain layers, and their ratio."""
    macs, plain = (sum(layer[key] for layer in layers) for key in ("macs", "plain_macs"))
    return [f"{macs / 1e6:.2f}", f"{plain / 1e6:.2f}", f"{macs / plain:.2f}"]
