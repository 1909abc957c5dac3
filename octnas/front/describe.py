"""What tables and pictures say of one trial: plain text, made in one place."""

from __future__ import annotations

from octnas.architecture import Architecture
from octnas.record import SearchHeader, TrialRecord

__all__ = [
    "UNITS",
    "alphas_by_stage",
    "is_uniform",
    "mean_alphas",
    "percent",
    "points",
    "trial_label",
    "what_search",
]

UNITS = "GFLOPs: 10^9 multiply-adds of the target network; accuracy: validation images, of the proxy"


def alphas_by_stage(architecture: Architecture) -> dict[int, tuple[float, ...]]:
    """The alphas of the searched convolutions, in order, by stage (1 is the first after the stem)."""
    stages: dict[int, tuple[float, ...]] = {}
    for slot, alpha in zip(architecture.table().slots, architecture.alphas, strict=True):
        stages[slot.stage] = (*stages.get(slot.stage, ()), alpha)
    return stages


def mean_alphas(record: TrialRecord) -> str:
    """The mean alpha of each stage, for instance "0.44 0.50 0.25 0.00"."""
    stages = alphas_by_stage(record.architecture).values()
    return " ".join(f"{sum(alphas) / len(alphas):.2f}" for alphas in stages)


def percent(accuracy: float | None) -> str:
    """An accuracy (0 to 1) as per cent, a dash where there is none."""
    return "-" if accuracy is None else f"{100 * accuracy:.2f} %"


def points(difference: float) -> str:
    """A difference of two accuracies in percentage points."""
    return f"{abs(100 * difference):.2f} points"


def trial_label(record: TrialRecord) -> str:
    """ "uniform-0.25 resnet50" for a yardstick, "trial 7 (resnet34)" for a candidate."""
    backbone = record.architecture.backbone
    return f"{record.yardstick} {backbone}" if record.yardstick else f"trial {record.id} ({backbone})"


def is_uniform(record: TrialRecord) -> bool:
    """Whether the trial is a yardstick with one alpha everywhere; the plain pooled network has alpha 0."""
    return record.yardstick is not None and (
        record.yardstick.startswith("uniform") or record.yardstick == "plain-pooled"
    )


def what_search(header: SearchHeader) -> str:
    """Space, data and budget of a search in a few words."""
    space = f"space {header.space}, " if header.space else ""
    return f"{space}data {header.data}, budget {header.budget_gflops:g} GFLOPs, seed {header.seed}"
