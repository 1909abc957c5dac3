"""How long `octnas.convert` takes on networks of torchvision, and what it makes of them.

    python benchmarks/conversion.py --out conversion.md
    python benchmarks/conversion.py --networks resnet50,s3d --repeats 9

A conversion is all that `octnas.convert(model, alpha=0.5)` does with a module that is at hand: its calls are
traced, its layers recognised, the module copied and rebuilt, and its cost set beside PyTorch's counter. Each
network is converted once before the clock starts; then all of them in turns, so that a machine that slows
down slows all of them. Seconds are medians, with the least and the most; those of the processor tell what
the work takes where other programs run too.

Multiply-adds are counted twice at each alpha, by octnas's closed form and by PyTorch's counter on the
converted network, which runs on the meta device; where they differ the script fails.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torchvision
from machine import memory_gib, processor, versions
from main_job import table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import octnas
from octnas.machine import usable_cores
from octnas.trace import stays_plain
from octnas.trace.reading import traced

NETWORKS = (
    "resnet50",
    "regnet_y_400mf",
    "efficientnet_b0",
    "shufflenet_v2_x0_5",
    "googlenet",
    "densenet121",
    "s3d",
)
ALPHAS = (0, 0.25, 0.5, 0.75)
LIMIT = 5.0
"""Seconds that the conversion of a ResNet-50 takes at most."""


@dataclass(kw_only=True)
class Subject:
    """A network and the seconds that were measured."""

    name: str
    model: nn.Module
    seconds: list[float] = field(default_factory=list)
    """Of whole conversions."""
    worked: list[float] = field(default_factory=list)
    """The same, of the processor."""
    reading: list[float] = field(default_factory=list)
    """Of the processor, for reading the layer table alone, which each conversion does once."""


def main() -> None:
    """Measures, prints and writes the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=",".join(NETWORKS), help="torchvision's names, with commas")
    parser.add_argument("--repeats", type=int, default=5, help="conversions of each network")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    names = given.networks.split(",")
    if unknown := [name for name in names if name not in torchvision.models.list_models()]:
        parser.error(f"--networks must be torchvision's names, but got {', '.join(unknown)}")
    subjects = [Subject(name=name, model=made(name)) for name in names]
    text = "\n\n".join([heading(names, given.repeats), timed(subjects, given.repeats), counted(subjects)])
    print(text)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text + "\n", encoding="utf-8")


def made(name: str) -> nn.Module:
    """torchvision's network of that name, with weights drawn at random."""
    options = {"init_weights": False} if name == "googlenet" else {}
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return model.eval()


def heading(names: Sequence[str], repeats: int) -> str:
    """The command, the machine and the versions."""
    memory = memory_gib()
    command = f"python benchmarks/conversion.py --networks {','.join(names)} --repeats {repeats}"
    return (
        f"`{command}` on {processor()}, {usable_cores()} cores"
        f"{'' if memory is None else f', {memory:.0f} GiB'}; octnas {octnas.__version__}, "
        f"{versions('torch', 'torchvision')}. At 224 px, 16 frames for clips."
    )


def timed(subjects: Sequence[Subject], repeats: int) -> str:
    """The table of seconds."""
    for round_ in range(repeats + 1):
        for each in subjects:
            begin, worked = time.perf_counter(), time.process_time()
            shape = octnas.convert(each.model, alpha=0.5).table.input_shape  # type: ignore[attr-defined]
            seconds, middle = time.perf_counter() - begin, time.process_time()
            traced(each.model, name=each.name, input_shape=shape)
            if round_:
                each.seconds.append(seconds)
                each.worked.append(middle - worked)
                each.reading.append(time.process_time() - middle)
    rows = []
    for each in subjects:
        median, worked = statistics.median(each.seconds), statistics.median(each.worked)
        limited = each.name == "resnet50"
        rows.append(
            (
                each.name,
                f"{median:.2f}",
                f"{min(each.seconds):.2f} to {max(each.seconds):.2f}",
                f"{worked:.2f}",
                f"{100 * statistics.median(each.reading) / worked:.0f} %",
                ("yes" if median <= LIMIT else "**no**") if limited else "",
            )
        )
    columns = ("seconds, median", "least to most", "of the processor", "of these to read the table")
    return table(("network", *columns, f"at most {LIMIT:g} s"), rows)


def counted(subjects: Sequence[Subject]) -> str:
    """The table of multiply-adds, and of what stays plain."""
    rows = []
    for each in subjects:
        gflops = []
        for alpha in ALPHAS:
            net = octnas.convert(each.model, alpha=alpha)
            shape = net.table.input_shape  # type: ignore[attr-defined]
            macs = octnas.cost(net.architecture, shape).macs
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                net.to("meta").eval()(torch.empty(1, *shape, device="meta"))
            if counter.get_total_flops() != 2 * macs:
                raise SystemExit(f"{each.name}, alpha {alpha}: {macs} but {counter.get_total_flops() / 2}")
            gflops.append(f"{macs / 1e9:.3f}")
        kinds = Counter(what["what"] for what in stays_plain(net))
        plain = ", ".join(f"{count} x {what}" if count > 1 else what for what, count in kinds.items())
        rows.append((each.name, "x".join(map(str, shape)), *gflops, str(len(net.table.slots)), plain or "-"))
    alphas = [f"alpha {alpha:g}" for alpha in ALPHAS]
    title = "10^9 multiply-adds, the closed form's and PyTorch's, which are equal in every cell:"
    columns = ("network", "input", *alphas, "convolutions with an alpha", "stays plain")
    return f"{title}\n\n{table(columns, rows)}"


if __name__ == "__main__":
    main()
