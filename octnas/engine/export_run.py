"""Export of a trial of a search: its best weights so far, its images, the files, the registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.data import ImageSet, load_data
from octnas.engine.budgets import kept_profile
from octnas.engine.checks import refuse_supernet
from octnas.engine.export_latency import latency_metrics, latency_tags, timings
from octnas.engine.initial import init_words, job_weights
from octnas.engine.inputs import shape_words
from octnas.errors import ExportError, RunError, afterwards
from octnas.export import ExportReport, Provenance, check_target, export_model
from octnas.export.card import size_words
from octnas.front import SearchResult
from octnas.nn import build
from octnas.record import RunFolder, TrialRecord, TrialState
from octnas.record.tracking_store import resolve_store
from octnas.space import Proxy, SearchSpace, parse_space
from octnas.storage import Place, reason_of
from octnas.timing.report import latency_text
from octnas.train import load_weights
from octnas.train.files import readable

if TYPE_CHECKING:
    from octnas.record.mlflow_adapter import Tracker

__all__ = ["chosen_trial", "export", "export_run", "export_text", "training_folder"]

SCALES = ("target", "full", "proxy")
"""Trainings of a winner, the best first."""
_TRAININGS = {
    "target": "the training of the target network",
    "full": "the full training of the proxy network",
    "proxy": "the proxy training",
}
_NETWORKS = {"target": "the target network", "full": "the proxy network", "proxy": "the proxy network"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Weights:
    """Trained weights and what is known of their training."""

    training: str
    architecture: Architecture
    path: Place
    state: Mapping[str, Tensor] | None
    """None where `path` is a safetensors file."""
    epochs: int
    seed: int
    accuracy: float | None
    test_accuracy: float | None
    data: str
    """Name of the image set, or path of the folder."""
    input_size: int
    frames: int | None
    """Of a clip; None: still images."""
    channels: int | None
    fingerprint: str
    """Of the images that it was trained on; empty where it is not known."""
    init: str
    """The weights that it began from: "scratch", "shared", "torchvision", or a file."""


def chosen_trial(run: RunFolder, trial_id: str | None) -> TrialRecord:
    """A trial of a run; None: its best, the most accurate front member that is no yardstick.

    Raises:
        RunError: there is no such trial, or no candidate is on the front.
    """
    refuse_supernet(run)
    if trial_id is not None:
        return run.record(trial_id)
    best = SearchResult.from_run(run.name).best
    if best is None:
        raise RunError(
            f"--best needs a candidate on the front, and {run.name!r} has none: go on with `octnas resume "
            f"{run.name}`, or name a trial of `octnas front {run.name}` with --trial ID"
        )
    return best


def export(
    name: str, trial_id: str | None = None, *, to: Path, tracking_uri: str | None = None
) -> dict[str, Any]:
    """Exports a trial of the search `name` (None: its best) and registers it; see `export_run`.

    Args:
        tracking_uri: an MLflow store; the search's, if not given.

    Returns:
        The report in JSON values, with the contract's keys.
    """
    from octnas.record.mlflow_adapter import Tracker

    run = RunFolder.open(name)
    record = chosen_trial(run, trial_id)
    tracker = Tracker(resolve_store(tracking_uri, run.header.tracking_uri))
    return export_run(run, record.id, to, tracker).to_dict()


def training_folder(run: RunFolder, trial_id: str, scale: str) -> Path:
    """Where `octnas train` keeps a training of a trial."""
    return run.training(trial_id, scale)


def export_run(
    run: RunFolder, trial_id: str, to: Path, tracker: Tracker | None, *, data: str | None = None
) -> ExportReport:
    """Export a trial with the weights of its best training so far, and register the model.

    Target weights are better than full ones, and those than the proxy's, which are a `train --scale proxy` or
    else the search's own.

    Args:
        to: the folder to write, see `export_model`.
        tracker: None writes the files and registers nothing.
        data: where the images that the weights were trained on are now, if they have moved.

    Raises:
        ExportError: the trial has no weights, its images have changed, or the files do not reproduce the
            network.
        RunError: the run has no such trial, or its weights are damaged.
        DataError: the images cannot be read.
        TrackingError: the server cannot be reached; the folder is written nevertheless.
    """
    record = run.record(trial_id)
    check_target(to)
    space = parse_space(run.header.space_yaml)
    weights = _best_weights(run, record, space)
    images = _images(weights, data, space.proxy)
    network = build(weights.architecture, num_classes=len(images.classes), in_channels=images.channels)
    if weights.state is None:
        load_weights(network, Path(str(weights.path)))
    else:
        try:
            network.load_state_dict(weights.state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise ExportError(f"the weights in {weights.path} must fit the network: {reason}") from error
    profile = kept_profile(run)
    times = None if profile is None else profile.op_ms
    is_target = weights.architecture == record.architecture
    report = export_model(
        network,
        to=to,
        example_shape=images.shape,
        classes=images.classes,
        data=images,
        provenance=_provenance(run, record, space, weights),
        timed=lambda onnx: timings(
            onnx, weights.architecture, images, record.architecture, space.target, times
        ),
        # The profile knows the target's layers, and predicted latency by the forms that it chose.
        times=times if is_target else None,
    )
    if tracker is not None:
        with afterwards(f"; the files are in {to} all the same"):
            _log(tracker, run, record, report, images)
    return report


def export_text(report: Mapping[str, Any]) -> str:
    """What `export` prints of `ExportReport.to_dict()`: first, which training the weights are from."""
    of = f"of {_TRAININGS[report['training']]}"
    if report["epochs"] == 0:
        of = f"that were given to {_NETWORKS[report['training']]} and not trained"
    lines = [f"exported with the weights {of} to {report['dir']}"]
    lines += [f"  {Path(path).name}" for path in report["files"].values()]
    if report["accuracy"] is not None:
        kind = "images" if len(report["input_shape"]) == 3 else "clips"
        lines.append(
            f"accuracy on {report['images']:,} validation {kind}: {100 * report['accuracy']:.2f} % before, "
            f"{100 * report['accuracy_after_reload']:.2f} % after reload"
        )
    lines.append(
        f"largest difference of a logit after reload: {report['max_abs_difference']:.2g}; this network: "
        f"{report['gflops']:.4g} GFLOPs (10^9 multiply-adds) at {shape_words(report['input_shape'])}"
    )
    if report["latency"] is not None:
        lines.append(latency_text(report["latency"], "this network"))
    if report["target_latency"] is not None:
        lines.append(latency_text(report["target_latency"], "the target network"))
    return "\n".join(lines)


def _best_weights(run: RunFolder, record: TrialRecord, space: SearchSpace) -> _Weights:
    for scale in SCALES:
        folder = training_folder(run, record.id, scale)
        if (folder / "weights.safetensors").is_file() and (folder / "training.json").is_file():
            return _trained(folder, scale)
    checkpoint = run.checkpoint(record.id)
    # The checkpoint of a trial that is paused or under way is of half a training.
    if record.state is not TrialState.COMPLETE or not _is_there(checkpoint):
        raise _no_weights(run, record)
    try:
        state = torch.load(readable(checkpoint), map_location="cpu", weights_only=True)["network"]
    except Exception as error:  # a damaged file makes the unpickler raise anything
        reason = " ".join(str(error).split())[:200]
        raise ExportError(
            f"the weights in {checkpoint} are damaged ({reason}): make new ones with "
            f"`octnas train {run.name} --trial {record.id}`"
        ) from error
    architecture = space.proxy_architecture(record.architecture)
    backbone = architecture.backbone
    return _Weights(
        training="proxy",
        architecture=architecture,
        path=checkpoint,
        state=state,
        epochs=record.epochs,
        seed=record.seed,
        accuracy=record.accuracy,
        test_accuracy=None,
        data=run.header.data,
        input_size=space.proxy.input_size,
        frames=space.proxy.frames,
        channels=None,
        fingerprint=run.header.data_fingerprint,
        init="scratch" if job_weights(run, backbone) is None else str(run.header.options["init"]),
    )


def _is_there(checkpoint: Place) -> bool:
    try:
        return checkpoint.is_file()
    except Exception as error:  # each client of a store has errors of its own
        raise RunError(f"cannot read {checkpoint}: {reason_of(error)}; give access to it") from None


def _no_weights(run: RunFolder, record: TrialRecord) -> ExportError:
    trains = f"`octnas train {run.name} --trial {record.id}`"
    if record.state is TrialState.COMPLETE:
        front = {each.id for each in SearchResult.of(run).front}
        if record.id not in front:
            return ExportError(
                f"no weights are kept of trial {record.id}, which is not on the front: {trains} makes some"
            )
    return ExportError(
        f"trial {record.id} ({record.state}) of {run.name!r} has no weights: train it first, {trains}"
    )


def _trained(folder: Path, scale: str) -> _Weights:
    path = folder / "training.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return _Weights(
            training=scale,
            architecture=Architecture.from_json(json.dumps(facts["architecture"])),
            path=folder / "weights.safetensors",
            state=None,
            epochs=facts["epochs"],
            seed=facts["seed"],
            accuracy=facts["accuracy"],
            test_accuracy=facts["test_accuracy"],
            data=facts["data_source"],
            input_size=facts["input_size"],
            frames=facts.get("frames"),  # trainings from before there were clips do not say
            channels=facts["channels"],
            fingerprint=facts["data_fingerprint"],
            init=facts.get("init", "scratch"),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{path} is damaged ({error!r}): remove {folder} and train again") from error


def _images(weights: _Weights, data: str | None, proxy: Proxy) -> ImageSet:
    source = data or weights.data
    images = load_data(
        source,
        size=weights.input_size,
        channels=weights.channels,
        frames=weights.frames,
        sampling=proxy.sampling,
        frame_stride=proxy.frame_stride,
    )
    if weights.fingerprint and images.fingerprint != weights.fingerprint:
        raise ExportError(
            f"an export is checked on the images of its training (fingerprint {weights.fingerprint}), but "
            f"{source} has {images.fingerprint}: it has changed since, or the weights are of other images; "
            "train again"
        )
    return images


def _provenance(run: RunFolder, record: TrialRecord, space: SearchSpace, weights: _Weights) -> Provenance:
    target = space.members(record.architecture.backbone).target
    total = cost(record.architecture, input_shape=target.input_shape, num_classes=target.classes)
    return Provenance(
        search=run.name,
        trial=record.id,
        space=space.name,
        training=weights.training,
        epochs=weights.epochs,
        seed=weights.seed,
        accuracy=weights.accuracy,
        test_accuracy=weights.test_accuracy,
        target=f"{record.architecture.backbone}, width {target.width}, at {size_words(target.input_shape)}, "
        f"{target.classes} classes",
        target_digest=record.architecture.digest,
        target_gflops=total.gflops,
        target_params=total.params,
        budget_gflops=run.header.budget_gflops,
        budget_ms=run.header.budget_ms,
        # Of a file its name alone: a card is for others, and the folders are its maker's.
        begun_from=None if weights.init == "scratch" else Path(init_words(weights.init)).name,
    )


def _log(
    tracker: Tracker, run: RunFolder, record: TrialRecord, report: ExportReport, images: ImageSet
) -> None:
    """A run for the export, and the ONNX file as a new version of the search's model."""
    metrics = {
        "accuracy": report.accuracy,
        "accuracy_after_reload": report.accuracy_after_reload,
        "max_abs_difference": report.max_abs_difference,
        "network_gflops": report.gflops,
        **latency_metrics(report),
    }
    run_id = tracker.log_export(
        run.header,
        record,
        training=report.training,
        metrics={name: value for name, value in metrics.items() if value is not None},
        files=[report.files["card"]],
        tags=latency_tags(report),
    )
    best = SearchResult.of(run).best
    tracker.register(
        f"octnas-{run.name}",
        report.files["onnx"],
        run_id=run_id,
        inputs=np.zeros((2, *images.shape), np.float32),
        outputs=np.zeros((2, len(images.classes)), np.float32),
        tags={
            "octnas.search": run.name,
            "octnas.trial_id": record.id,
            "octnas.digest": record.architecture.digest,
            "octnas.training": report.training,
            "octnas.backbone": record.architecture.backbone,
            "octnas.gflops": f"{report.gflops:.4g}",
            **({} if report.accuracy is None else {"octnas.accuracy": f"{report.accuracy:.4f}"}),
            "octnas.input": shape_words(images.shape),
            **latency_tags(report),
        },
        card=report.files["card"].read_text(encoding="utf-8"),
        alias="best" if best is not None and best.id == record.id else None,
    )
