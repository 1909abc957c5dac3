"""Exported files, read back and held against the network that they came from.

Both files take images (B, C, H, W), or clips (B, C, T, H, W), in float32 scaled to 0..1, and so does the
reference; B of them a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from octnas.errors import ExportError

__all__ = ["Verification", "onnx_runner", "pt2_runner", "verify"]

Runner = Callable[[Tensor], Tensor]

LOGIT_TOLERANCE = 1e-3
"""Largest accepted difference of a logit, as a share of the largest logit of the network."""
ACCURACY_TOLERANCE = 1e-3
"""Largest accepted difference of accuracy, a tenth of a point; one image where that is more."""
BATCH_SIZES = (1, 3)
"""Tried on the first images, beside the batches as they come: a batch size baked into a file fails here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the comparison of the files with the network gave."""

    images: int
    max_abs_difference: float
    """Largest difference of any logit, over all images, batch sizes and both files."""
    logit_scale: float
    """Largest absolute logit of the network."""
    accuracy: float | None = None
    """Share of the images that the network gets right; None where they have no labels."""
    accuracy_after_reload: float | None = None
    """The same of the files; where they disagree, of the one that is farther from the network."""


def verify(
    onnx: Path, pt2: Path, reference: nn.Module, batches: Iterable[tuple[Tensor, Tensor | None]]
) -> Verification:
    """Compare both files with `reference`, which is in evaluation mode.

    Args:
        batches: images or clips, float32 in 0..1, and their labels (B,), or None for images without.

    Raises:
        ExportError: a file cannot be run, a logit differs by more than `LOGIT_TOLERANCE` of the logits'
            scale, or an accuracy by more than `ACCURACY_TOLERANCE`.
    """
    runners = {onnx.name: onnx_runner(onnx), pt2.name: pt2_runner(pt2)}
    differences = dict.fromkeys(runners, 0.0)
    scale, images, labelled = 0.0, 0, False
    right = dict.fromkeys(["network", *runners], 0)
    with torch.inference_mode():
        for part, labels, again in _with_small_batches(batches):
            expected = reference(part)
            scale = _larger(scale, float(expected.abs().max()))
            outputs = {"network": expected}
            for name, run in runners.items():
                outputs[name] = _run(name, run, part)
                difference = float((outputs[name] - expected).abs().max())
                differences[name] = _larger(differences[name], difference)
            if again:
                continue
            images += len(part)
            if labels is not None:
                labelled = True
                for name, logits in outputs.items():
                    right[name] += int((logits.argmax(1) == labels).sum())
    if images == 0:
        raise ExportError("an export must be checked on 1 image or more, but the validation images are 0")
    for name, difference in differences.items():
        # a NaN fails every comparison, and an infinite scale would pass any difference
        if not (math.isfinite(scale) and difference <= LOGIT_TOLERANCE * scale):
            raise ExportError(
                f"logits of {name} must be within {LOGIT_TOLERANCE:g} of the network's, relative to their "
                f"scale {scale:.3g}, but differ by {difference:.3g}: nothing was written"
            )
    worst = max(differences.values())
    if not labelled:
        return Verification(images=images, max_abs_difference=worst, logit_scale=scale)
    farthest = max(runners, key=lambda name: abs(right[name] - right["network"]))
    if abs(right[farthest] - right["network"]) > max(1, ACCURACY_TOLERANCE * images):
        raise ExportError(
            f"the accuracy of {farthest} must be the network's, but of {images} images the network gets "
            f"{right['network']} right and the file {right[farthest]}: nothing was written"
        )
    return Verification(
        images=images,
        max_abs_difference=worst,
        logit_scale=scale,
        accuracy=right["network"] / images,
        accuracy_after_reload=right[farthest] / images,
    )


def onnx_runner(path: Path) -> Runner:
    """The ONNX file in ONNX Runtime on the processor, as a function from images to logits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: images.contiguous().numpy()})[0])

    return run


def pt2_runner(path: Path) -> Runner:
    """The file of torch.export as a function from images to logits."""
    return cast(Runner, torch.export.load(path).module())


def _run(name: str, run: Runner, images: Tensor) -> Tensor:
    try:
        return run(images)
    except Exception as error:  # each runtime has its own, none of them ours
        first = str(error).strip().split("\n")[0]
        raise ExportError(f"{name} must run a batch of {len(images)}, but failed with: {first}") from error


def _larger(known: float, new: float) -> float:
    """The larger of two numbers; a NaN, once met, stays."""
    return new if math.isnan(new) or new > known else known


def _with_small_batches(
    batches: Iterable[tuple[Tensor, Tensor | None]],
) -> Iterator[tuple[Tensor, Tensor | None, bool]]:
    """The batches, each with False, and before them small ones of the first, with True."""
    for i, (images, labels) in enumerate(batches):
        if i == 0:
            for size in BATCH_SIZES:
                if size <= len(images):
                    yield images[:size], None, True
        yield images, labels, False
