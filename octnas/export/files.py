"""A trained network as a folder of files that run without octnas.

Convention of the exported graph: images (B, C, H, W), or clips (B, C, T, H, W), in float32 scaled to 0..1 go
in, logits (B, classes) come out; normalisation by the data's mean and deviation is part of the graph, and B
is free.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.costs.plans import Times
from octnas.data import ImageSet
from octnas.errors import ArchitectureError, ConversionError, ExportError, ExportTargetError
from octnas.export.card import DataFacts, Provenance, Timings, model_card
from octnas.export.deploy import deploy
from octnas.export.graphs import WithInput, exported_program, quiet, write_onnx, write_pt2
from octnas.export.verify import Verification, verify
from octnas.nn import OctaveNetwork
from octnas.train.weights import write_weights

__all__ = ["ExportReport", "check_target", "export_model"]

FILES = {
    "onnx": "model.onnx",
    "pt2": "model.pt2",
    "weights": "weights.safetensors",
    "architecture": "architecture.json",
    "card": "README.md",
    "classes": "classes.json",
}
"""What a folder holds, by the keys of `export --json`."""

CHECK_MACS = 4 * 10**11
"""Multiply-adds that one pass over the checked images may take, a minute on two cores: all images of a proxy,
some hundreds of a network of 1 GFLOP."""
CHECK_IMAGES = 100
"""Fewest images to check on, whatever they take."""
CHECK_BATCH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written and what the files reach; accuracies are shares (0 to 1) of `images` images."""

    dir: Path
    files: dict[str, Path]
    accuracy: float | None
    """Of the network, before the files were written."""
    accuracy_after_reload: float | None
    max_abs_difference: float
    """Largest difference of a logit between files and network."""
    images: int
    training: str
    """Which training the weights are from: "proxy", "full" or "target"."""
    input_shape: tuple[int, ...]
    """(C, H, W) of an image, or (C, T, H, W) of a clip."""
    gflops: float
    """10^9 multiply-adds of this network per image, or per clip."""
    latency: Mapping[str, Any] | None = None
    """Of this network's ONNX file, beside its plain twin's, with the keys of `latency --json`."""
    target_latency: Mapping[str, Any] | None = None
    """Of the target network, likewise, where it is another than this one."""
    epochs: int | None = None
    """Of this training; 0: weights that were given, with batch-norm statistics of these images."""

    def to_dict(self) -> dict[str, Any]:
        """What `export --json` prints."""
        return {
            "dir": str(self.dir),
            "files": {key: str(path) for key, path in self.files.items()},
            "accuracy": self.accuracy,
            "accuracy_after_reload": self.accuracy_after_reload,
            "max_abs_difference": self.max_abs_difference,
            "images": self.images,
            "training": self.training,
            "epochs": self.epochs,
            "input_shape": list(self.input_shape),
            "gflops": self.gflops,
            "latency": None if self.latency is None else dict(self.latency),
            "target_latency": None if self.target_latency is None else dict(self.target_latency),
        }


def export_model(
    network: OctaveNetwork,
    *,
    to: Path,
    example_shape: tuple[int, ...],
    classes: Sequence[str],
    data: ImageSet | None,
    provenance: Provenance,
    timed: Callable[[Path], Timings] | None = None,
    times: Times | None = None,
) -> ExportReport:
    """Write a network as ONNX, torch.export, safetensors, architecture and card; checked after reload.

    Args:
        network: read, not changed; exported in evaluation mode, float32, on the processor.
        to: a folder that does not exist, is empty, or holds an earlier export, which is replaced. It appears
            whole or not at all.
        example_shape: (C, H, W) in px of the input, or (C, T, H, W) of clips; the batch size stays free.
        classes: names, in the order of the logits.
        data: images to check the files on, and the mean and deviation to normalise by. None: pixels are not
            normalised and the check is on random ones.
        timed: measures the ONNX file, once it is checked; card and report carry what it returns.
        times: milliseconds of an operation on the device that the files are for; see `deploy`.

    Raises:
        ExportError: the folder holds something else or cannot be written, or a file does not reproduce the
            network.
    """
    target = check_target(to)
    reference = _with_input(copy.deepcopy(network), data)
    *_, height, width = example_shape
    frames = example_shape[1] if len(example_shape) == 4 else None
    deployed = _with_input(deploy(network, input_size=(height, width), frames=frames, times=times), data)
    total = cost(network.architecture, input_shape=example_shape, num_classes=len(classes))
    work = target.with_name(f".{target.name}.{os.getpid()}.part")
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
    try:
        with _writing(target):
            (work / FILES["architecture"]).write_text(network.architecture.to_json() + "\n", encoding="utf-8")
            names = json.dumps(list(classes), ensure_ascii=False, indent=1)
            (work / FILES["classes"]).write_text(names + "\n", encoding="utf-8")
            write_weights(network, work / FILES["weights"])
            _write_graphs(deployed, example_shape, work)
        verification = _verified(work, reference, example_shape, data, total.macs)
        with _writing(target):  # the twin's file needs room as well
            timings = None if timed is None else timed(work / FILES["onnx"])
        card = model_card(
            architecture=network.architecture,
            cost=total,
            input_shape=example_shape,
            classes=classes,
            data=None if data is None else _facts(data),
            provenance=provenance,
            verification=verification,
            timings=timings,
        )
        with _writing(target):
            (work / FILES["card"]).write_text(card, encoding="utf-8")
            _put(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return ExportReport(
        dir=to,
        files={key: to / name for key, name in FILES.items()},
        accuracy=verification.accuracy,
        accuracy_after_reload=verification.accuracy_after_reload,
        max_abs_difference=verification.max_abs_difference,
        images=verification.images,
        training=provenance.training,
        input_shape=example_shape,
        gflops=total.gflops,
        latency=None if timings is None else timings.network,
        target_latency=None if timings is None else timings.target,
        epochs=provenance.epochs,
    )


def check_target(to: Path) -> Path:
    """The real path of the folder to write, once it is certain that it can be and that nothing is lost.

    Raises:
        ExportTargetError: it is a file, it cannot be written, or it holds anything that is not of an export.
    """
    try:
        target = to.resolve()
        held = {path.name for path in target.iterdir()} if target.exists() else set()
        # Tried and not asked for: root is told that it may write where nobody can.
        with TemporaryDirectory(dir=next((path for path in target.parents if path.exists()), target)):
            pass
    except NotADirectoryError:
        raise ExportTargetError(
            f"an export goes into a folder, but {to} is a file or lies in one: choose another --to"
        ) from None
    except OSError as error:
        raise ExportTargetError(f"cannot write {to}: {error.strerror}; choose another --to") from None
    if held and not (held <= set(FILES.values()) and _is_architecture(target / FILES["architecture"])):
        strange = sorted(held - set(FILES.values())) or sorted(held)
        raise ExportTargetError(
            f"an export replaces nothing but an earlier export, but {to} holds {strange[0]!r}: "
            "choose another --to"
        )
    return target


def _with_input(network: nn.Module, data: ImageSet | None) -> nn.Module:
    mean, std = (None, None) if data is None else (data.mean, data.std)
    return WithInput(network.cpu().float(), mean, std).eval()


def _write_graphs(deployed: nn.Module, shape: tuple[int, ...], folder: Path) -> None:
    with quiet():
        program = exported_program(deployed, shape)
        write_pt2(program, folder / FILES["pt2"])
        write_onnx(program, folder / FILES["onnx"])


def _verified(
    folder: Path, reference: nn.Module, shape: tuple[int, ...], data: ImageSet | None, macs: int
) -> Verification:
    limit = max(CHECK_IMAGES, CHECK_MACS // macs)
    with quiet():
        return verify(folder / FILES["onnx"], folder / FILES["pt2"], reference, _batches(data, shape, limit))


def _batches(
    data: ImageSet | None, shape: tuple[int, ...], limit: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Images or clips in 0..1 and labels, `limit` of them or fewer; the same ones every time."""
    if data is None:
        yield torch.rand(8, *shape, generator=torch.Generator().manual_seed(0)), None
        return
    split = data.val if len(data.val) <= limit else data.val.subset(limit, seed=0)
    for images, labels in split.batches(CHECK_BATCH):
        yield images.float() / 255, labels


def _facts(data: ImageSet) -> DataFacts:
    return DataFacts(
        name=data.name,
        origin=data.origin,
        licence=data.licence,
        train=len(data.train),
        val=len(data.val),
        test=0 if data.test is None else len(data.test),
        mean=data.mean,
        std=data.std,
        what="images" if data.frames is None else "clips",
    )


def _put(work: Path, target: Path) -> None:
    """Rename the finished folder into place; an earlier export is gone only once the new one is there."""
    if not target.exists():
        work.rename(target)
        return
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    target.rename(old)
    try:
        work.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _is_architecture(path: Path) -> bool:
    try:
        Architecture.from_json(path.read_text(encoding="utf-8"))
    except ConversionError:
        return True  # of a user's network that is not at hand
    except (OSError, UnicodeDecodeError, ArchitectureError):
        return False
    return True


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn what the writers raise on a full disk or an unwritable folder into one line."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise ExportError(f"cannot write {target}: {reason}; free space or choose another --to") from error
