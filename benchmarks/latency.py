"""How fast octave networks are on the clock, beside the plain network, in the same runtime and the same run.

    python benchmarks/latency.py
    python benchmarks/latency.py --device cuda

On the processor: ResNet-50 at 224 px, one thread, batch 1, in ONNX Runtime and in eager PyTorch, deployed by
octnas on both sides (batch-norm folded, the plain twin too); what people use today beside it; where the time
goes, by operation; how efficient the convolutions themselves are at the smaller shapes; and channel counts
that fall badly. On a GPU: bfloat16, batch 64, both compiled with CUDA graphs.

Everything of one table is timed in turns; each figure is a median, a ratio the median over the rounds of the
ratio within a round.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torchvision
from four_convolutions import PortedResNet50
from kernel_times import Kernel, kernel_times
from machine import processor, versions
from torch import nn

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.export import deploy
from octnas.export.graphs import exported_program, quiet, write_onnx
from octnas.timing.measure import Runner, Times, interleaved
from octnas.timing.runtimes import file_runner, module_runner, random_network, torch_threads

SHAPE = (3, 224, 224)
ALPHAS = ("1/8", "1/4", "1/2", "3/4")
AIMS = {"onnxruntime": (0.92, 0.79, 0.60, 0.49), "eager": (0.93, 0.81, 0.65, 0.54)}
GPU_AIM = 0.70
TODAY_AIM = 0.45
BADLY = ("1/16", "1/8", "3/16", "1/4", "5/16", "3/8", "7/16", "1/2")
"""Of 64 channels 4, 8, 12, 16, 20, 24, 28 and 32 are low."""


def resnet(alpha: str) -> Architecture:
    """ResNet-50 with one alpha; where nothing is low it strides, as the plain network does."""
    return Architecture.uniform("resnet50", alpha=alpha)


def flops_ratio(alpha: str) -> float:
    """Multiply-adds as a share of the plain network's."""
    return cost(resnet(alpha), SHAPE).gflops / cost(resnet("0"), SHAPE).gflops


def ratio(times: Mapping[str, Times], one: str, other: str) -> tuple[float, float, float]:
    """Median and quartiles of the ratio within a round."""
    low, middle, high = np.quantile(
        np.divide(times[one].samples, times[other].samples), (0.25, 0.5, 0.75)
    ).tolist()
    return middle, low, high


def onnx_file(alpha: str, folder: Path) -> Path:
    """The file that `octnas export` would write, with random weights."""
    path = folder / f"{alpha.replace('/', '-')}.onnx"
    if not path.exists():
        net = random_network(resnet(alpha), num_classes=1000, in_channels=SHAPE[0])
        with quiet():
            write_onnx(exported_program(deploy(net), SHAPE), path)
    return path


def runners(runtime: str, alphas: tuple[str, ...], folder: Path, batch: int) -> dict[str, Runner]:
    """The plain network ("0") and the octave networks in a runtime."""
    made: dict[str, Runner] = {}
    for alpha in ("0", *alphas):
        if runtime == "onnxruntime":
            made[alpha] = file_runner(onnx_file(alpha, folder), input_shape=SHAPE, batch=batch)
        else:
            net = deploy(random_network(resnet(alpha), num_classes=1000, in_channels=SHAPE[0]))
            made[alpha] = module_runner(net, runtime="eager", input_shape=SHAPE, batch=batch)
    return made


def ratios_table(times: Mapping[str, Mapping[str, Times]]) -> list[str]:
    """Ratios to the plain network by alpha and runtime."""
    names = list(times)
    lines = [
        "| alpha | FLOPs share |" + "".join(f" {name} (quartiles) | ms | aim |" for name in names),
        "|---|---|" + "---|---|---|" * len(names),
    ]
    plain = "".join(f" 1 | {times[name]['0'].median:.1f} | |" for name in names)
    lines.append(f"| 0 | 1 |{plain}")
    for i, alpha in enumerate(ALPHAS):
        cells = []
        for name in names:
            middle, low, high = ratio(times[name], alpha, "0")
            milliseconds = times[name][alpha].median
            cells.append(f" {middle:.3f} ({low:.3f} to {high:.3f}) | {milliseconds:.1f} | {AIMS[name][i]} |")
        lines.append(f"| {alpha} | {flops_ratio(alpha):.3f} |" + "".join(cells))
    return lines


def today_table(folder: Path, seconds: float) -> list[str]:
    """What people use today beside what octnas exports, all in one run."""
    today: dict[str, tuple[nn.Module, bool]] = {
        "torchvision's ResNet-50, eager": (torchvision.models.resnet50(), False),
        "torchvision's ResNet-50, eager, channels-last": (torchvision.models.resnet50(), True),
        "alpha 1/2 as public ports write it, eager": (PortedResNet50(0.5), False),
        "alpha 1/2 as public ports write it, eager, channels-last": (PortedResNet50(0.5), True),
    }
    made = {name: eager(module, last) for name, (module, last) in today.items()}
    for alpha in ("0", "1/2"):
        name = "plain" if alpha == "0" else f"alpha {alpha}"
        net = random_network(resnet(alpha), num_classes=1000, in_channels=SHAPE[0])
        made[f"{name}, octnas, eager"] = module_runner(deploy(net), runtime="eager", input_shape=SHAPE)
        made[f"{name}, octnas, ONNX Runtime"] = file_runner(onnx_file(alpha, folder), input_shape=SHAPE)
    times = interleaved(made, seconds=seconds)
    first = next(iter(today))
    lines = ["| network | ms | share of torchvision's eager (quartiles) |", "|---|---|---|"]
    for name, values in times.items():
        middle, low, high = ratio(times, name, first)
        lines.append(f"| {name} | {values.median:.1f} | {middle:.3f} ({low:.3f} to {high:.3f}) |")
    return [*lines, "", f"Aim for the exported alpha 1/2 in ONNX Runtime: {TODAY_AIM} or less."]


def eager(module: nn.Module, channels_last: bool) -> Runner:
    """A module as people run it: evaluation mode, no gradients."""
    module = module.eval()
    images = torch.rand(1, *SHAPE)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)

    def run() -> None:
        with torch.inference_mode():
            module(images)

    return run


def operations_table(kernels: Mapping[str, list[Kernel]]) -> list[str]:
    """Where the time goes in ONNX Runtime, as shares of the plain network's kernels."""
    kinds = ("Conv", "AveragePool", "Upsample", "Concat", "Add", "Relu", "reorders", "the rest")
    whole = sum(kernel.ms for kernel in kernels["0"])
    lines = [
        "| alpha | FLOPs share | convolutions at the plain network's multiply-adds a ns | "
        + " | ".join("Conv (calls)" if kind == "Conv" else kind for kind in kinds)
        + " | kernels in all |",
        "|" + "---|" * (len(kinds) + 4),
    ]
    plain_convs = sum(kernel.ms for kernel in kernels["0"] if kernel.op == "Conv")
    plain_macs = sum(kernel.macs for kernel in kernels["0"])
    for alpha, found in kernels.items():
        shares = dict.fromkeys(kinds, 0.0)
        for kernel in found:
            kind = "reorders" if kernel.op.startswith("Reorder") else kernel.op
            shares[kind if kind in shares else "the rest"] += kernel.ms / whole
        calls = sum(kernel.op == "Conv" for kernel in found)
        ideal = sum(kernel.macs for kernel in found) / plain_macs * plain_convs / whole
        cells = [f"{shares[kind]:.3f}" + (f" ({calls})" if kind == "Conv" else "") for kind in kinds]
        total = sum(kernel.ms for kernel in found) / whole
        lines.append(
            f"| {alpha} | {flops_ratio(alpha):.3f} | {ideal:.3f} | {' | '.join(cells)} | {total:.3f} |"
        )
    return lines


def efficiency_table(kernels: Mapping[str, list[Kernel]], alpha: str) -> list[str]:
    """Multiply-adds a ns of the convolutions' kernels by the size of their maps, plain and octave."""
    lines = [
        f"| map, px | kernel | plain: calls | multiply-adds a ns | alpha {alpha}: calls "
        "| multiply-adds a ns |",
        "|---|---|---|---|---|---|",
    ]

    def groups(name: str) -> dict[tuple[int, int], list[Kernel]]:
        found: dict[tuple[int, int], list[Kernel]] = {}
        for kernel in kernels[name]:
            if kernel.op == "Conv":
                found.setdefault((kernel.side, kernel.size), []).append(kernel)
        return found

    def cells(group: list[Kernel]) -> str:
        if not group:
            return "0 | "
        rate = sum(kernel.macs for kernel in group) / sum(kernel.ms for kernel in group) / 1e6
        return f"{len(group)} | {rate:.0f}"

    plain, octave = groups("0"), groups(alpha)
    for key in sorted({*plain, *octave}, reverse=True):
        side, size = key
        lines.append(
            f"| {side} | {size}x{size} | {cells(plain.get(key, []))} | {cells(octave.get(key, []))} |"
        )
    return lines


def badly_table(times: Mapping[str, Mapping[str, Times]]) -> list[str]:
    """Time share over FLOPs share where channel counts fall well or badly."""
    names = list(times)
    lines = [
        "| alpha | low and high of 64 channels | multiples of | FLOPs share |"
        + "".join(f" {name} | over FLOPs share |" for name in names),
        "|---|---|---|---|" + "---|---|" * len(names),
    ]
    for alpha in BADLY:
        numerator, denominator = map(int, alpha.split("/"))
        low = 64 * numerator // denominator
        multiple = next(n for n in (16, 8, 4) if low % n == 0)
        share = flops_ratio(alpha)
        cells = []
        for name in names:
            middle, _, _ = ratio(times[name], alpha, "0")
            cells.append(f" {middle:.3f} | {middle / share:.2f} |")
        lines.append(f"| {alpha} | {low}, {64 - low} | {multiple} | {share:.3f} |" + "".join(cells))
    return lines


def gpu_table(seconds: float, batch: int) -> list[str]:
    """Ratios on a GPU: bfloat16, compiled with CUDA graphs on both sides."""
    made: dict[str, Runner] = {}
    for alpha in ("0", *ALPHAS):
        net = deploy(random_network(resnet(alpha), num_classes=1000, in_channels=SHAPE[0]))
        made[alpha] = module_runner(net, runtime="compile", device="cuda", batch=batch, input_shape=SHAPE)
    times = interleaved(made, seconds=seconds)
    lines = ["| alpha | FLOPs share | compiled (quartiles) | ms a batch | aim |", "|---|---|---|---|---|"]
    for alpha in ("0", *ALPHAS):
        middle, low, high = ratio(times, alpha, "0")
        aim = GPU_AIM if alpha == "1/2" else ""
        lines.append(
            f"| {alpha} | {flops_ratio(alpha):.3f} | {middle:.3f} ({low:.3f} to {high:.3f}) "
            f"| {times[alpha].median:.2f} | {aim} |"
        )
    return lines


def processor_report(seconds: float, batch: int) -> str:
    """All tables of the processor."""
    with TemporaryDirectory() as name, torch_threads(1):
        folder = Path(name)
        parts = [
            f"ResNet-50, 224 px, one thread, batch {batch}, float32. {processor()}; "
            f"{versions('torch', 'torchvision', 'onnxruntime')}. Ratios are to the plain network, deployed "
            "the same way, in the same runtime and run.",
            "",
        ]
        times = {
            runtime: interleaved(runners(runtime, ALPHAS, folder, batch), seconds=seconds) for runtime in AIMS
        }
        parts += [*ratios_table(times), "", "#### Beside what people use today", ""]
        parts += [*today_table(folder, seconds), "", "#### Where the time goes, ONNX Runtime", ""]
        kernels = {alpha: kernel_times(onnx_file(alpha, folder), SHAPE) for alpha in ("0", *ALPHAS)}
        parts += ["Shares of the time of the plain network's kernels.", "", *operations_table(kernels)]
        parts += ["", "#### The convolutions' own efficiency, ONNX Runtime", ""]
        parts += [*efficiency_table(kernels, "1/2"), "", "#### Channel counts that fall badly", ""]
        badly = {
            runtime: interleaved(runners(runtime, BADLY, folder, batch), seconds=seconds) for runtime in AIMS
        }
        parts += badly_table(badly)
        return "\n".join(parts)


def gpu_report(seconds: float, batch: int) -> str:
    """The table of a GPU."""
    head = (
        f"ResNet-50, 224 px, batch {batch}, bfloat16, channels-last, torch.compile with CUDA graphs. "
        f"{torch.cuda.get_device_name()}; {versions('torch')}."
    )
    return "\n".join([head, "", *gpu_table(seconds, batch)])


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, help="images a run; by default 1, and 64 on a GPU")
    parser.add_argument("--seconds", type=float, default=20.0, help="of measuring, each table and runtime")
    given = parser.parse_args()
    if given.device == "cuda":
        if not torch.cuda.is_available():
            parser.error("--device cuda needs a GPU that torch can use, but there is none")
        print(gpu_report(given.seconds, given.batch or 64))
        return
    print(processor_report(given.seconds, given.batch or 1))


if __name__ == "__main__":
    main()
