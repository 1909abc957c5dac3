"""The cost of one architecture as JSON values and as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from octnas.architecture import Architecture
from octnas.costs.flops import cost

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["cost_report", "cost_table"]


def cost_report(
    arch: Architecture,
    *,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int = 1000,
    verify: bool = False,
    by_layer: bool = False,
) -> dict[str, Any]:
    """What `octnas cost` prints; see `octnas.costs.cost` for the arguments.

    Args:
        verify: also count the built network with thop and with PyTorch's counter (loads torch).
        by_layer: also list every layer.
    """
    shape = input_shape or ((3, 32, 32) if arch.stem == "small" else (3, 224, 224))
    total = cost(arch, input_shape=shape, num_classes=num_classes)
    report: dict[str, Any] = {
        "backbone": arch.backbone,
        "input": "x".join(map(str, shape)),
        "gflops": total.gflops,
        "params": total.params,
        "activation_elements": total.activation_elements,
        "macs": total.macs,
        "classes": num_classes,
        "width": arch.width,
        "stem": arch.stem,
        "downsample": arch.downsample,
        "digest": arch.digest,
        "low_channels": list(arch.low_channels),
    }
    if verify:
        from octnas.costs.counted import count

        counted = count(arch, shape, num_classes)
        report["verify"] = {
            "thop_gflops": counted.thop_gflops,
            "pytorch_gflops": counted.pytorch_gflops,
            "params": counted.params,
            "equal": counted.thop_macs == counted.pytorch_macs == total.macs
            and counted.params == total.params,
        }
    if by_layer:
        report["layers"] = [
            {
                "name": layer.name,
                "channels": layer.channels,
                "low": layer.low,
                "macs": layer.macs,
                "plain_macs": layer.plain_macs,
            }
            for layer in total.layers
        ]
    return report


def cost_table(report: Mapping[str, Any]) -> RenderableType:
    """The report for a terminal; GFLOPs are 10^9 multiply-adds."""
    from rich import box
    from rich.console import Group
    from rich.table import Table

    head = Table("", "", box=box.SIMPLE_HEAD, show_header=False)
    head.caption = "GFLOPs: 10^9 multiply-adds, batch 1"
    head.caption_justify = "left"
    for key, value in {
        "backbone": ", ".join(
            [report["backbone"], f"width {report['width']}", f"{report['stem']} stem", report["downsample"]]
        ),
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
    table.caption = "all equal" if counted["equal"] else "THEY DIFFER"
    return table


def _layer_table(layers: list[dict[str, Any]]) -> RenderableType:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("layer", overflow="fold")
    for title in ("low / channels", "10^6 multiply-adds", "plain", "share"):
        table.add_column(title, justify="right")
    for layer in layers:
        share = layer["macs"] / layer["plain_macs"]
        table.add_row(
            layer["name"],
            f"{layer['low']} / {layer['channels']}",
            f"{layer['macs'] / 1e6:.2f}",
            f"{layer['plain_macs'] / 1e6:.2f}",
            f"{share:.2f}",
        )
    return table
