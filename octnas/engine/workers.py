"""How many trials run on this machine at once."""

from __future__ import annotations

from dataclasses import dataclass

from octnas.errors import RunError
from octnas.machine import usable_cores

__all__ = ["Workers", "gpu_slots", "plan_workers"]

TRIALS_PER_GPU = 4
"""Small proxies that share a GPU, where nothing else is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """How many trials run at once, and what each may use."""

    count: int
    cpus: int
    """Processor cores of a trial."""
    gpus: float
    """Share of a GPU of a trial; 0 without one."""
    cores: int
    """Processor cores that this process may use, of this machine or of the cluster that it joined."""
    devices: int
    """GPUs that it may use."""


def plan_workers(cpus_per_trial: float = 1, gpus_per_trial: float | None = None) -> Workers:
    """The trials that fit this machine at once.

    Args:
        gpus_per_trial: None takes a share of a GPU where there is one.

    Raises:
        RunError: not even one trial fits.
    """
    import torch

    cores = usable_cores()
    if not (1 <= cpus_per_trial <= cores and cpus_per_trial == int(cpus_per_trial)):
        raise RunError(
            f"`cpus_per_trial` must be a whole number from 1 to {cores} (the cores usable here), "
            f"but got {cpus_per_trial:g}"
        )
    cpus = int(cpus_per_trial)
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    count = cores // cpus
    if gpus_per_trial is None:
        share = min(TRIALS_PER_GPU, -(-count // devices)) if devices else 0
        gpus = 1 / share if share else 0.0
    else:
        gpus = gpus_per_trial
    if not (0 <= gpus <= devices and (gpus <= 1 or gpus == int(gpus))):
        raise RunError(
            f"`gpus_per_trial` must be a share up to 1 or a whole number up to {devices} (the GPUs here), "
            f"but got {gpus:g}"
        )
    if gpus > 0:
        count = min(count, gpu_slots(devices, gpus))
    return Workers(count=count, cpus=cpus, gpus=gpus, cores=cores, devices=devices)


def gpu_slots(devices: float, gpus: float) -> int:
    """Trials of `gpus` GPUs each (a share up to 1, or a whole number) that so many GPUs take at once."""
    return int(devices) * int(1 / gpus + 1e-9) if gpus < 1 else int(devices / gpus)
