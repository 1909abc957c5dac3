"""What tables and pictures say of one trial: plain text, made in one place."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from octnas.architecture import Architecture
from octnas.counted import counted
from octnas.front.axis import budget_words, device_words, input_words, samples
from octnas.record import SearchHeader, SharedScore, TrialRecord

__all__ = [
    "SLOWER",
    "SLOWER_NOTE",
    "alphas_by_stage",
    "dims_label",
    "is_uniform",
    "mean_alphas",
    "network_lines",
    "networks_document",
    "percent",
    "points",
    "slower_than_plain",
    "stages",
    "start_words",
    "trial_label",
    "units",
    "what_search",
]

SLOWER = "fewer FLOPs, slower"
"""What is said of an octave network whose predicted latency is above that of its plain network."""

_MANY_LAYERS = 24
"""Layers of a stage from which on runs of one alpha are counted: ResNet-101 has 69 in its third."""

_WHOLE = 64
"""Width of a user's network as its factory makes it by itself."""

SLOWER_NOTE = f"{SLOWER}: predicted to take longer than the plain network of its backbone"


def alphas_by_stage(architecture: Architecture) -> dict[int, tuple[float, ...]]:
    """The alphas of the searched convolutions, in order, by stage (1 is the first after the stem)."""
    stages: dict[int, list[float]] = {}
    for slot, alpha in zip(architecture.table().slots, architecture.alphas, strict=True):
        stages.setdefault(slot.stage, []).append(alpha)
    return {stage: tuple(alphas) for stage, alphas in stages.items()}


def stages(record: TrialRecord | SharedScore) -> list[str]:
    """ "1: 0.25 0.5 0.25 0.25" for each stage, digits as short as they go; in stages of many layers runs of
    one alpha as "0.25 x 12"."""
    lines = []
    for stage, alphas in alphas_by_stage(record.architecture).items():
        words = [f"{alpha:.3g}" for alpha in alphas]
        if len(words) > _MANY_LAYERS:
            runs = [(word, len(list(run))) for word, run in itertools.groupby(words)]
            words = [f"{word} x {count}" if count > 2 else " ".join([word] * count) for word, count in runs]
            lines.append(f"{stage}: {', '.join(words)}")
        else:
            lines.append(f"{stage}: {' '.join(words)}")
    return lines


def mean_alphas(record: TrialRecord) -> str:
    """The mean alpha of each stage, for instance "0.44 0.50 0.25 0.00"."""
    stages = alphas_by_stage(record.architecture).values()
    return " ".join(f"{sum(alphas) / len(alphas):.2f}" for alphas in stages)


def dims_label(record: TrialRecord) -> str:
    """ "2D" or "3D": what the convolutions of its backbone run over."""
    return f"{record.architecture.dims}D"


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
    """Space, data and budgets of a search in a few words."""
    space = f"space {header.space}, " if header.space else ""
    return (
        f"{space}data {header.data}{input_words(header)}, budget {budget_words(header)}, seed {header.seed}"
    )


def units(header: SearchHeader) -> str:
    """Whose figures those of a search are, and for which device its ms are predicted."""
    whose = "GFLOPs: 10^9 multiply-adds of the target network"
    whose += f"; accuracy: validation {samples(header)}, of the proxy{start_words(header)}"
    if header.options.get("init") == "shared":
        whose += "; shared: of the proxy on shared weights, before any training of its own"
    device = device_words(header)
    return whose if device is None else f"{whose}; ms: predicted latency of the target network on {device}"


def network_lines(options: Mapping[str, Any]) -> list[str]:
    """A line for each user's network of a search: how wide its proxy is, and at which input it trains.

    Args:
        options: of the search's header, which has both as "proxy_widths" (in 64ths) and "input_shape".
    """
    shape = "x".join(map(str, options.get("input_shape", ()))) or "the proxy's input"
    lines = []
    for name, width in options.get("proxy_widths", {}).items():
        wide = "keeps its width" if width == _WHOLE else f"is {width / _WHOLE:g} times as wide"
        lines.append(f"{name}: the proxy {wide} and trains at {shape}")
    return lines


def networks_document(header: SearchHeader) -> dict[str, Any]:
    """`networks` of a search's JSON: for each user's network the proxy's share of its width and the input;
    nothing where it has none."""
    widths = header.options.get("proxy_widths", {})
    shape = list(header.options.get("input_shape", ()))
    found = [
        {"backbone": name, "proxy_width": width / _WHOLE, "proxy_input": "x".join(map(str, shape))}
        for name, width in widths.items()
    ]
    return {"networks": found} if found else {}


def start_words(header: SearchHeader) -> str:
    """Where the weights of a search's trials come from, for after "the proxy"; "" where all are from scratch.

    The search writes it into its header's options as "init", and the length of a short training from given
    weights as "fine_tune".
    """
    init, epochs = str(header.options.get("init", "scratch")), header.options.get("fine_tune")
    if init == "scratch":
        return ""
    known = {"shared": "shared weights", "torchvision": "torchvision's weights"}
    weights = known.get(init, f"the weights in {PurePath(init).name}")
    if epochs is not None:
        return f", fine-tuned for {counted(epochs, 'epoch')} from {weights}"
    return ", trained from scratch" if init == "shared" else f", trained from {weights}"


def slower_than_plain(header: SearchHeader, record: TrialRecord) -> bool | None:
    """Whether a trial is predicted to take longer than the plain network of its backbone.

    False for a network without low channels, which is a plain one; None where one of the two is not known.
    The search writes the plain networks' latencies into its header's options as "plain_latency_ms".
    """
    plain = header.options.get("plain_latency_ms", {}).get(record.architecture.backbone)
    if record.latency_ms is None or plain is None:
        return None
    return any(record.architecture.low_channels) and record.latency_ms > float(plain)
