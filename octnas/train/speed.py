"""How a training runs on this machine: device, number format, memory layout, threads.

The defaults are the fastest that `benchmarks/training_speed.py` measured: channels-last everywhere, over
time too, and bfloat16 multiplications wherever the hardware has them (weights, sums and batch-norm stay
float32). Which form of a network is called says `octnas.train.form`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

from octnas.errors import UnknownNameError
from octnas.train.settings import Precision, TrainSettings

__all__ = ["Mode", "choose_device", "choose_precision", "mode_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """Where and in which number format and layout a network runs."""

    device: torch.device
    precision: Literal["fp32", "bf16"]
    channels_last: bool = True

    def memory_format(self, dims: int) -> torch.memory_format:
        """The memory format of weights and maps over `dims` dimensions: 2, or 3 with time."""
        if not self.channels_last:
            return torch.contiguous_format
        return torch.channels_last if dims == 2 else torch.channels_last_3d

    @property
    def dtype(self) -> torch.dtype:
        """Number format of multiplications."""
        return torch.float32 if self.precision == "fp32" else torch.bfloat16

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the network's forward runs."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" is a GPU where there is one.

    Raises:
        UnknownNameError: no device of that name is usable here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        known = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise UnknownNameError(f"unknown device {name!r}: usable here are auto, {', '.join(known)}") from None
    return device


def choose_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """The number format of multiplications; "auto" is bfloat16 where the hardware multiplies it."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu" and _cpu_has_bf16():
        return "bf16"
    return "fp32"


def _cpu_has_bf16() -> bool:
    # Older releases of torch cannot tell; float32 is right everywhere.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def mode_of(settings: TrainSettings) -> Mode:
    """The mode that the settings ask for on this machine, and this process set up for it.

    Sets the number of CPU threads, and cuDNN to its deterministic algorithms, so that a seed repeats a
    training bit for bit.
    """
    device = choose_device(settings.device)
    if settings.threads is not None and torch.get_num_threads() != settings.threads:
        torch.set_num_threads(settings.threads)
    # Subnormal numbers are a hundred times slower on many CPUs and mean nothing to a training.
    torch.set_flush_denormal(True)
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    return Mode(
        device=device,
        precision=choose_precision(settings.precision, device),
        channels_last=settings.channels_last,
    )
