"""Latency of every family at alpha .5 beside its plain twin, in turns, as a Markdown table.

    taskset -c 1 python benchmarks/family_latency.py --out family-latency.md
    python benchmarks/family_latency.py resnext50_32x4d i3d_resnet50:3x8x112x112 --alpha 0.25 --runtime eager

A network is a backbone, with `:CxHxW` or `:CxTxHxW` behind it where its usual input is not wanted. Both are
deployed by the same rule of thumb and run with one thread on one image or clip; see `octnas latency`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from machine import processor, versions
from main_job import table

from octnas import __version__
from octnas.architecture import Architecture
from octnas.machine import usable_cores
from octnas.timing.latency import latency
from octnas.timing.runtimes import as_runtime

NETWORKS = (
    "resnet50",
    "resnext50_32x4d",
    "se_resnet50",
    "wide_resnet50_2",
    "densenet121",
    "mobilenet_v1",
    "mobilenet_v2",
    "resnet18:3x8x112x112",
    "c2d_resnet18:3x8x112x112",
    "i3d_resnet18:3x8x112x112",
    "c2d_resnet50:3x8x112x112",
    "i3d_resnet50:3x8x112x112",
    "r3d_18:3x8x112x112",
)


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--alpha", default="0.5")
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring each pair")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    rows = [row(each, given.alpha, given.runtime, given.seconds) for each in given.networks]
    header = (
        "network",
        "input",
        "plain, ms",
        f"alpha {given.alpha}, ms",
        "ratio",
        "middle half",
        "FLOPs ratio",
    )
    heading = (
        f"{given.runtime}, one thread, batch 1, on {processor()}, {usable_cores()} cores; "
        f"octnas {__version__}, {versions('torch', 'onnxruntime')}. "
        "Medians in turns; ratios are of medians, their middle half of rounds."
    )
    text = f"{heading}\n\n{table(header, rows)}"
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


def row(network: str, alpha: str, runtime: str, seconds: float) -> tuple[str, ...]:
    """One network's measurement."""
    backbone, _, text = network.partition(":")
    plain = Architecture.uniform(backbone, alpha=0)
    shape = plain.input_shape(tuple(int(side) for side in text.split("x")) if text else None)
    arch = Architecture.uniform(backbone, alpha=alpha, input_size=shape[-1])
    found = latency(arch, runtime=as_runtime(runtime), input_shape=shape, seconds=seconds)
    low, high = found.ratio_quartiles
    return (
        backbone,
        "x".join(map(str, shape)),
        f"{found.plain_latency_ms:.1f}",
        f"{found.latency_ms:.1f}",
        f"{found.ratio:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{found.flops_ratio:.3f}",
    )


if __name__ == "__main__":
    main()
