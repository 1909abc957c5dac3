"""Time and memory of a training step, octave against plain, and where the time goes.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --device cuda --precision bf16 --batch 64 --compile

A step is forward, backward and optimiser on random images, channels last. All networks of one number format
are timed in turns in one process, so that a machine that slows down slows all of them; figures are medians,
ratios those of the medians to the plain network (alpha 0).

Memory is that of a fresh process for each network, from before its weights are made (and after a step of a
small network, since what PyTorch's libraries take once belongs to none): weights, gradients, moments of the
optimiser, and what is kept for the backward pass. On a processor two figures: the most that tensors held at
once, as PyTorch's profiler records every allocation, and by how much the resident set grew, with every larger
tensor in a mapping of its own (MALLOC_MMAP_THRESHOLD_), so that it is not the C library's heap that is
measured. On a GPU the most that PyTorch's allocator held.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from machine import processor, versions
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.nn import build

MIB = 2**20
KINDS = {
    "convolution, forward": (
        "aten::mkldnn_convolution",
        "aten::_slow_conv2d_forward",
        "aten::cudnn_convolution",
    ),
    "convolution, backward": ("aten::convolution_backward", "aten::_slow_conv2d_backward"),
    "batch-norm": ("aten::native_batch_norm", "aten::native_batch_norm_backward", "aten::cudnn_batch_norm"),
    "ReLU": ("aten::clamp_min_", "aten::threshold_backward"),
    "pooling": ("aten::avg_pool2d", "aten::avg_pool2d_backward"),
    "upsampling": ("aten::upsample_nearest2d", "aten::upsample_nearest2d_backward"),
    "sums": ("aten::add_", "aten::add", "aten::mul", "aten::sum"),
    "concatenation and copies": ("aten::cat", "aten::copy_", "aten::fill_", "aten::zero_"),
    "optimiser": ("aten::_fused_sgd_", "aten::_fused_adamw_"),
}
"""PyTorch's operations that do the work, by what they do; all others are "other"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is the same for all networks of a table."""

    backbone: str
    batch: int
    size: int
    optimizer: str
    precision: str
    device: str
    compiled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Most memory that one network took, in bytes, from before its weights were made."""

    allocated: int
    """Held by tensors at once."""
    resident: int | None
    """By which the resident set grew; None on a GPU."""


def make_step(setting: Setting, alpha: float) -> Callable[[], None]:
    """A training step of a fresh network on images that stay the same."""
    torch.manual_seed(0)
    network: nn.Module = build(Architecture.uniform(setting.backbone, alpha=alpha))
    network = network.to(setting.device).to(memory_format=torch.channels_last)
    parameters = list(network.parameters())
    optimizer: torch.optim.Optimizer
    if setting.optimizer == "adamw":
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    else:
        optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, fused=True)
    images = torch.randn(setting.batch, 3, setting.size, setting.size, device=setting.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (setting.batch,), device=setting.device)
    forward = cast(Callable[[Tensor], Tensor], torch.compile(network) if setting.compiled else network)

    def step() -> None:
        with _autocast(setting):
            logits = forward(images)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _autocast(setting: Setting) -> contextlib.AbstractContextManager[object]:
    if setting.precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(setting.device, dtype=torch.bfloat16)


def seconds(setting: Setting, alphas: Sequence[float], rounds: int) -> dict[float, list[float]]:
    """Seconds of each step, in turns, after two steps to warm up."""
    steps = {alpha: make_step(setting, alpha) for alpha in alphas}
    for step in steps.values():
        step()
        step()
    taken: dict[float, list[float]] = {alpha: [] for alpha in alphas}
    for _ in range(rounds):
        for alpha, step in steps.items():
            _wait(setting)
            begin = time.perf_counter()
            step()
            _wait(setting)
            taken[alpha].append(time.perf_counter() - begin)
    return taken


def _wait(setting: Setting) -> None:
    if setting.device == "cuda":
        torch.cuda.synchronize()


def by_operation(setting: Setting, alpha: float) -> dict[str, float]:
    """Milliseconds of one step by kind of operation: on the processor, or in the GPU's kernels."""
    step = make_step(setting, alpha)
    step()
    activities = [ProfilerActivity.CPU]
    if setting.device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as record:
        step()
        _wait(setting)
    kinds = {name: kind for kind, names in KINDS.items() for name in names}
    totals = dict.fromkeys([*KINDS, "other"], 0.0)
    for row in record.key_averages():
        on_gpu = setting.device == "cuda"
        took = row.self_device_time_total if on_gpu else row.self_cpu_time_total
        totals[kinds.get(row.key, "other")] += took / 1e3
    return totals


def memory_here(setting: Setting, alpha: float) -> Memory:
    """Peaks of this process, which must have done nothing yet."""
    if setting.device == "cuda":
        step = make_step(setting, alpha)
        step()
        torch.cuda.reset_peak_memory_stats()
        step()
        return Memory(allocated=torch.cuda.max_memory_allocated(), resident=None)
    # What PyTorch and its libraries take once belongs to no network.
    make_step(dataclasses.replace(setting, backbone="resnet18", batch=1, size=64), 0.5)()
    before = _resident("VmRSS")
    step = make_step(setting, alpha)
    step()
    step()
    resident = _resident("VmHWM") - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step = make_step(setting, alpha)
        step()
        step()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        record.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]"]
    held = peak = 0
    for _, change in sorted(changes, key=lambda each: each[0]):
        held += change
        peak = max(peak, held)
    return Memory(allocated=peak, resident=resident)


def _resident(field: str) -> int:
    """Bytes of this process now (VmRSS), or at most so far (VmHWM), as Linux keeps them."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def memory(setting: Setting, alpha: float) -> Memory:
    """`memory_here` of a fresh process."""
    options = [
        *("--memory-of", repr(alpha), "--precision", setting.precision, "--backbone", setting.backbone),
        *("--batch", str(setting.batch), "--size", str(setting.size), "--optimizer", setting.optimizer),
        *("--device", setting.device, *(["--compile"] if setting.compiled else [])),
        *("--threads", str(torch.get_num_threads())),
    ]
    ran = subprocess.run(
        [sys.executable, __file__, *options],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Memory(**json.loads(ran.stdout.splitlines()[-1]))


def main_table(
    settings: Sequence[Setting],
    times: Mapping[tuple[Setting, float], Sequence[float]],
    memories: Mapping[tuple[Setting, float], Memory],
    flops: Mapping[float, float],
) -> str:
    """Time and memory in Markdown; in brackets half the range of the rounds."""
    resident = any(each.resident is not None for each in memories.values())
    heads = [
        "format",
        "alpha",
        "FLOPs share",
        "ms a step",
        "share of plain",
        "tensors, MiB",
        "share of plain",
    ]
    heads += ["resident, MiB", "share of plain"] if resident else []
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for setting in settings:
        plain, plain_memory = statistics.median(times[setting, 0.0]), memories[setting, 0.0]
        for alpha, share in flops.items():
            taken, held = times[setting, alpha], memories[setting, alpha]
            median, spread = statistics.median(taken), (max(taken) - min(taken)) / 2
            cells = [setting.precision, f"{alpha:g}", f"{share:.3f}"]
            cells += [f"{1e3 * median:.0f} (± {100 * spread / median:.0f} %)", f"{median / plain:.3f}"]
            cells += [f"{held.allocated / MIB:.0f}", f"{held.allocated / plain_memory.allocated:.3f}"]
            if held.resident is not None and plain_memory.resident is not None:
                cells += [f"{held.resident / MIB:.0f}", f"{held.resident / plain_memory.resident:.3f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def operations_table(
    settings: Sequence[Setting], kinds: Mapping[tuple[Setting, float], dict[str, float]]
) -> str:
    """Milliseconds by kind of operation in Markdown."""
    columns = [(setting, alpha) for setting in settings for alpha in (0.0, 0.5)]
    heads = [f"{setting.precision}, alpha {alpha:g}" for setting, alpha in columns]
    lines = [f"| ms of a step | {' | '.join(heads)} |", f"|{'---|' * (1 + len(columns))}"]
    for kind in (*KINDS, "other"):
        lines.append(f"| {kind} | {' | '.join(f'{kinds[column][kind]:.1f}' for column in columns)} |")
    return "\n".join(lines)


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--alphas", nargs="*", type=float, default=[0.25, 0.5, 0.75], help="beside plain")
    parser.add_argument("--precision", nargs="*", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224, help="of the images, in px")
    parser.add_argument("--optimizer", choices=["sgd", "adamw"], default="sgd")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    parser.add_argument("--memory-of", type=float, help="print one network's memory, of this process")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    settings = [
        Setting(
            backbone=given.backbone,
            batch=given.batch,
            size=given.size,
            optimizer=given.optimizer,
            precision=precision,
            device=given.device,
            compiled=given.compile,
        )
        for precision in given.precision
    ]
    if given.memory_of is not None:
        held = memory_here(settings[0], given.memory_of)
        print(json.dumps({"allocated": held.allocated, "resident": held.resident}))
        return
    alphas = [0.0, *given.alphas]
    gflops = {alpha: cost(Architecture.uniform(given.backbone, alpha=alpha)).gflops for alpha in alphas}
    times: dict[tuple[Setting, float], list[float]] = {}
    memories: dict[tuple[Setting, float], Memory] = {}
    kinds: dict[tuple[Setting, float], dict[str, float]] = {}
    for setting in settings:
        for alpha, taken in seconds(setting, alphas, given.rounds).items():
            times[setting, alpha] = taken
        for alpha in (0.0, 0.5):
            kinds[setting, alpha] = by_operation(setting, alpha)
        for alpha in alphas:
            memories[setting, alpha] = memory(setting, alpha)
    name = torch.cuda.get_device_name() if given.device == "cuda" else processor()
    print(
        f"A training step of {given.backbone}, {given.size} px, batches of {given.batch}, {given.optimizer}, "
        f"channels last{', compiled' if given.compile else ''}, {given.rounds} rounds. "
        f"{name}, {given.threads} thread(s), {versions('torch')}.\n"
    )
    print(main_table(settings, times, memories, {a: gflops[a] / gflops[0.0] for a in alphas}), end="\n\n")
    print(operations_table(settings, kinds))


if __name__ == "__main__":
    main()
