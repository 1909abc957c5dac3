"""The model card: what an exported folder holds, what it reaches, and how to run it. Plain Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from octnas._version import __version__
from octnas.architecture import Architecture
from octnas.backbones import is_users
from octnas.costs import Cost
from octnas.export.markdown import escaped, numbers, percent, table
from octnas.export.verify import Verification

__all__ = ["DataFacts", "Provenance", "Timings", "model_card", "size_words"]

CARD_CLASSES = 20
"""Class names that a card spells out; all of them are in classes.json."""

UNIT = "(10^9 multiply-adds)"

_TRAININGS = {
    "proxy": "proxy training of the search: the narrow network on the search's share of the data, few steps",
    "full": "full training of the proxy network: the narrow network on all training data",
    "target": "training of the target network",
}
_FILES = {
    "model.onnx": "ONNX graph with its weights, batch-norm folded, any batch size",
    "model.pt2": "the same graph for `torch.export.load`",
    "weights.safetensors": "the trained weights by {whose} names, before folding; they fit any alphas",
    "architecture.json": "the architecture: backbone and low channels of every searched convolution",
    "classes.json": "class names, in the order of the logits",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The images, or clips, that the weights were trained and checked on."""

    name: str
    origin: str
    licence: str
    train: int
    """Images that the set has for training."""
    val: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    what: Literal["images", "clips"] = "images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the weights are from. `gflops` are 10^9 multiply-adds of the target network."""

    search: str
    trial: str
    space: str
    training: str
    """"proxy", "full" or "target"."""
    epochs: int
    seed: int
    accuracy: float | None
    """Of validation images, as the training recorded it, 0 to 1."""
    test_accuracy: float | None
    target: str
    """The target network in words."""
    target_digest: str
    """Of the target's architecture; a proxy may be the same network."""
    target_gflops: float
    target_params: int
    budget_gflops: float | None
    budget_ms: float | None = None
    """Of the target network, in milliseconds at batch 1."""
    begun_from: str | None = None
    """The weights that the training began from, in words; None: drawn by its seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """What was measured on this device, beside the plain twins; the keys are those of `latency --json`."""

    network: Mapping[str, Any]
    """Of this network's ONNX file."""
    target: Mapping[str, Any] | None = None
    """Of the target network, where it is another than this one."""


def model_card(
    *,
    architecture: Architecture,
    cost: Cost,
    input_shape: tuple[int, ...],
    classes: Sequence[str],
    data: DataFacts | None,
    provenance: Provenance,
    verification: Verification,
    timings: Timings | None = None,
) -> str:
    """The card's text. `cost` is of this network at `input_shape`, (C, H, W) or (C, T, H, W); `timings` None:
    nothing was timed."""
    sections = [
        _title(architecture, input_shape, len(classes), provenance),
        _figures(cost, input_shape, data, provenance, verification),
        *([] if timings is None else [_latency(timings, provenance)]),
        _input(input_shape, classes, data),
        _code(architecture, input_shape, len(classes), data),
        _files(architecture),
        _alphas(architecture),
        _origin(data, provenance),
    ]
    return "\n\n".join(sections) + "\n"


def _title(
    architecture: Architecture, input_shape: tuple[int, ...], classes: int, provenance: Provenance
) -> str:
    low = sum(alpha > 0 for alpha in architecture.alphas)
    same = architecture.digest == provenance.target_digest
    kind = "the target network" if same else "a proxy, whose accuracy is not the target network's"
    return (
        f"# {architecture.backbone} with octave convolutions ({architecture.digest})\n\n"
        f"{_kind(architecture, input_shape)} found by octnas: {_form(architecture)}, "
        f"{architecture.downsample} downsampling, "
        f"{size_words(input_shape)} in, {classes} classes out. {low} of its "
        f"{len(architecture.alphas)} searched convolutions keep channels at half resolution. This is {kind}."
    )


def _form(architecture: Architecture) -> str:
    if not is_users(architecture.backbone):
        return f"{architecture.backbone}, width {architecture.width}, {architecture.stem} stem"
    width = Fraction(architecture.width, 64)
    return f"{architecture.backbone}{'' if width == 1 else f', {width} of its usual width'}"


def _kind(architecture: Architecture, input_shape: tuple[int, ...]) -> str:
    if len(input_shape) == 3:
        return "An image classifier"
    if architecture.dims == 3:
        return "A classifier of clips, with convolutions over time,"
    mean = "over frames before the last layer"
    if is_users(architecture.backbone):
        mean = "of the frames' logits"
    return f"A classifier of clips, frame by frame with the mean {mean},"


def size_words(input_shape: tuple[int, ...]) -> str:
    """ "3 x 224 x 224 px", or "3 x 8 frames x 224 x 224 px"."""
    channels, *time, height, width = input_shape
    return " x ".join([f"{channels}", *(f"{frames} frames" for frames in time), f"{height}", f"{width} px"])


def _figures(
    cost: Cost,
    input_shape: tuple[int, ...],
    data: DataFacts | None,
    provenance: Provenance,
    verification: Verification,
) -> str:
    what = "image" if len(input_shape) == 3 else "clip"
    of = _TRAININGS[provenance.training]
    rows = [
        ("compute of this network", f"{cost.gflops:.4f} GFLOPs {UNIT} per {what}"),
        ("parameters of this network", f"{cost.params:,}"),
        ("compute of the target", f"{provenance.target_gflops:.3f} GFLOPs {UNIT}: {provenance.target}"),
        ("parameters of the target", f"{provenance.target_params:,}"),
        ("weights from", f"{of}; {provenance.epochs} epochs, seed {provenance.seed}{_begun(provenance)}"),
        ("validation accuracy, as trained", percent(provenance.accuracy)),
    ]
    shown = f"{what}s of random pixels" if data is None else f"validation {what}s"
    images = f"{verification.images:,} {shown}"
    if verification.accuracy is not None:
        rows += [
            (f"accuracy of the network on {images}", percent(verification.accuracy)),
            ("the same after reloading the files", percent(verification.accuracy_after_reload)),
        ]
    if provenance.test_accuracy is not None:
        rows.append(("test accuracy (nothing was chosen by it)", percent(provenance.test_accuracy)))
    difference = f"{verification.max_abs_difference:.2g} (logits up to {verification.logit_scale:.3g})"
    rows.append(("largest difference of a logit, files against network", f"{difference}, on {images}"))
    return "## Figures\n\n" + table(("figure", "value"), rows)


def _begun(provenance: Provenance) -> str:
    """Weights have a licence of their own: the card says whose they were."""
    words = provenance.begun_from
    return "" if words is None else f", begun from {escaped(words)}"


def _latency(timings: Timings, provenance: Provenance) -> str:
    network, target = timings.network, timings.target
    plain = "the plain network (no low channels, deployed the same way)"
    lines = [
        "## Latency on this device",
        "",
        f"Measured when this was exported, beside {plain}, in turns in one process: medians.",
        "",
        table(("figure", "value"), _device_rows(network)),
        "",
        "This network (`model.onnx`)" + (":" if target is not None else ", which is the target network:"),
        "",
        table(("figure", "value"), _latency_rows(network)),
    ]
    if target is not None:
        lines += [
            "",
            f"The target network ({provenance.target}), exported the same way with weights drawn at random: "
            "the latency above is not this one.",
            "",
            table(("figure", "value"), _latency_rows(target)),
        ]
    if provenance.budget_ms is not None:
        of_target = network if target is None else target
        kept = "under" if of_target["latency_ms"] <= provenance.budget_ms else "OVER"
        lines += [
            "",
            f"The search's limit was {provenance.budget_ms:g} ms for the target: measured "
            f"{of_target['latency_ms']:.4g} ms, {kept} it.",
        ]
    return "\n".join(lines)


def _device_rows(timing: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in timing["versions"].items())
    return [
        ("device", escaped(timing["device"])),
        ("runtime", f"{timing['runtime']}, {timing['precision']}"),
        ("threads, batch", f"{timing['threads']}, {timing['batch']}"),
        ("versions", escaped(versions)),
    ]


def _latency_rows(timing: Mapping[str, Any]) -> list[tuple[str, str]]:
    low, high = timing["ratio_quartiles"]
    rows = [
        ("latency", f"{timing['latency_ms']:.4g} ms"),
        ("latency of the plain network", f"{timing['plain_latency_ms']:.4g} ms"),
        ("ratio of latency", f"{timing['ratio']:.3f} (quartiles {low:.3f} to {high:.3f})"),
        ("ratio of GFLOPs", f"{timing['flops_ratio']:.3f}"),
    ]
    if timing["slower"]:
        fewer = "fewer FLOPs, slower" if timing["flops_ratio"] < 1 else "slower"
        rows.append(("**slower than the plain network**", f"{fewer} on this device"))
    return rows


def _input(input_shape: tuple[int, ...], classes: Sequence[str], data: DataFacts | None) -> str:
    channels, *time, height, width = input_shape
    colours = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
    lines = [
        "## Input and output",
        "",
        f"Input `images`: float32, (batch, {', '.join(map(str, input_shape))}), {colours}, **scaled to "
        f"0..1** (bytes divided by 255), resized to {height} x {width} px. Any batch size.",
    ]
    if time:
        lines.append(
            f"That is (batch, channels, frames, height, width): {time[0]} frames of a clip, in their order."
        )
    if data is not None:
        lines.append(
            "`model.onnx` and `model.pt2` normalise by themselves: don't do it again. They subtract "
            f"{numbers(data.mean)} and divide by {numbers(data.std)}, by channel."
        )
    else:
        lines.append("The pixels are not normalised.")
    lines += ["", f"Output `logits`: float32, (batch, {len(classes)}), in the order of `classes.json`."]
    if len(classes) <= CARD_CLASSES:
        rows = [(str(i), escaped(name)) for i, name in enumerate(classes)]
        lines += ["", table(("logit", "class"), rows)]
    return "\n".join(lines)


def _code(
    architecture: Architecture, input_shape: tuple[int, ...], classes: int, data: DataFacts | None
) -> str:
    shape = ", ".join(map(str, (3, *input_shape)))
    by_channel = ", ".join(["1", "-1", *["1"] * (len(input_shape) - 1)])
    normalised = "images"
    statistics = ""
    if data is not None:
        statistics = (
            f"mean = torch.tensor({numbers(data.mean)}).view({by_channel})\n"
            f"std = torch.tensor({numbers(data.std)}).view({by_channel})\n"
        )
        normalised = "(images - mean) / std"
    return f"""\
## Run it

In this folder. With ONNX Runtime (`pip install onnxruntime`; no octnas, no torch):

```python
import json

import numpy as np
import onnxruntime

classes = json.load(open("classes.json", encoding="utf-8"))
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
images = np.random.rand({shape}).astype(np.float32)  # yours: scaled to 0..1
(logits,) = session.run(None, {{"images": images}})
print([classes[i] for i in logits.argmax(1)])
```

With torch (no octnas):

```python
import torch

model = torch.export.load("model.pt2").module()
logits = model(torch.rand({shape}))  # yours: scaled to 0..1
print(logits.argmax(1))
```

With octnas, to train on or to run at another input size{_needs(architecture)}:

```python
from pathlib import Path

import octnas
import torch
from safetensors.torch import load_file

{_made(architecture, classes, input_shape[0])}
network.load_state_dict(load_file("weights.safetensors"))
fast = octnas.export.deploy(network)  # batch-norm folded; network.eval() gives the same logits
{statistics}images = torch.rand({shape})  # yours: scaled to 0..1
print(fast({normalised}).argmax(1))
```"""


def _needs(architecture: Architecture) -> str:
    """What else must be there to build a user's network."""
    if not is_users(architecture.backbone):
        return ""
    what = "`model`, the network that was converted," if _is_adhoc(architecture) else architecture.backbone
    return f"; {what} must be at hand there, with its code as it was (the other two need nothing of it)"


def _made(architecture: Architecture, classes: int, channels: int) -> str:
    """Code that makes the network."""
    made = f"network = octnas.build(architecture, num_classes={classes}, in_channels={channels})"
    lines = [
        'architecture = octnas.Architecture.from_json(Path("architecture.json").read_text(encoding="utf-8"))'
    ]
    if _is_adhoc(architecture):
        lines.insert(0, "octnas.convert(model)  # its layers are known from here on")
        made = "network = octnas.convert(model, architecture=architecture)"
    return "\n".join([*lines, made])


def _is_adhoc(architecture: Architecture) -> bool:
    """Whether a network was converted as it stood, and has no factory."""
    return architecture.backbone.startswith("convert:")


def _files(architecture: Architecture) -> str:
    whose = "the network's own" if is_users(architecture.backbone) else "torchvision's"
    rows = [(f"`{name}`", what.format(whose=whose)) for name, what in _FILES.items()]
    return "## Files\n\n" + table(("file", "what"), rows)


def _alphas(architecture: Architecture) -> str:
    blocks: dict[str, list[str]] = {}
    for slot, low, alpha in zip(
        architecture.table().slots, architecture.low_channels, architecture.alphas, strict=True
    ):
        block, _, _ = slot.name.rpartition(".")
        blocks.setdefault(block or slot.name, []).append(f"{alpha:.4g} ({low}/{slot.channels})")
    rows = [(f"`{block}`", ", ".join(cells)) for block, cells in blocks.items()]
    return (
        "## Alpha by layer\n\nThe share of each convolution's output channels at half resolution, (low/all), "
        "in the order of the block's convolutions.\n\n" + table(("block", "alpha"), rows)
    )


def _origin(data: DataFacts | None, provenance: Provenance) -> str:
    lines = [
        "## Where it is from",
        "",
        f"octnas {__version__}, search `{provenance.search}`, trial `{provenance.trial}`, space "
        f"{escaped(provenance.space)}.",
    ]
    if provenance.budget_gflops is not None:
        lines.append(f"The search's budget was {provenance.budget_gflops:g} GFLOPs of the target.")
    if provenance.budget_ms is not None:
        lines.append(f"The search's limit was {provenance.budget_ms:g} ms of the target.")
    if data is not None:
        lines += [
            "",
            f"Data: {escaped(data.name)} ({escaped(data.origin)}), {data.train:,} training, {data.val:,} "
            f"validation and {data.test:,} test {data.what}. Licence: {escaped(data.licence)}.",
        ]
    return "\n".join(lines)
