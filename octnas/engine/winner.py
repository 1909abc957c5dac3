"""Training of a trial of a search at a chosen scale: its network, its images, its settings, its folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, get_args

from torch import Tensor

from octnas.architecture import Architecture
from octnas.data import ImageSet, StreamedSplit, load_data
from octnas.engine.checks import data_source
from octnas.engine.export_run import chosen_trial, training_folder
from octnas.engine.front_drawn import FrontDrawn
from octnas.engine.initial import chosen_weights, fitted_weights, init_words
from octnas.engine.inputs import shape_words
from octnas.errors import RunError, afterwards, unknown_name
from octnas.front import SearchResult
from octnas.machine import usable_cores
from octnas.record import EpochScore, RunFolder
from octnas.record.tracking_store import resolve_store
from octnas.space import parse_space
from octnas.storage import Place
from octnas.train import (
    Scale,
    TrainingReport,
    TrainSettings,
    choose_device,
    settings_at_scale,
    settings_from_proxy,
    train_and_keep,
)
from octnas.train.pretrained import begins_anew
from octnas.train.recipe import IMAGENET_IMAGES, Choices, imagenet_settings, recipe_words
from octnas.train.winner import Progress, keep

__all__ = ["train", "train_winner", "training_text"]

_TRACKED = (
    "batch_size",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "label_smoothing",
    "mixup",
    "ema",
)
"""Settings that MLflow shows one by one."""
_NETWORKS = {
    "proxy": "the proxy network, as in the search",
    "full": "the proxy network, on all training data",
    "target": "the target network",
}


def train(
    name: str,
    trial_id: str | None = None,
    *,
    scale: Scale | None = None,
    epochs: int | None = None,
    data: str | None = None,
    seed: int = 0,
    init: str | None = None,
    workers: int = 1,
    cluster: str | None = None,
    choices: Choices | None = None,
    tracking_uri: str | None = None,
) -> dict[str, Any]:
    """Trains a trial of the search `name` (None: its best), logs it to MLflow, and reports in JSON values.

    Progress goes to standard error, a line an epoch. See `train_winner` for the other arguments and errors.

    Args:
        tracking_uri: an MLflow store; the search's, if not given.

    Raises:
        RunError: there is no such run or trial, or none is complete within the budget yet.
        TrackingError: the store cannot be reached: before the training, or after it, when its files are kept.
    """
    from octnas.record.mlflow_adapter import Tracker
    from octnas.record.mlflow_import import import_mlflow
    from octnas.record.mlflow_system import Sample, SystemMetrics

    run = RunFolder.open(name)
    record = chosen_trial(run, trial_id)
    tracker = Tracker(resolve_store(tracking_uri, run.header.tracking_uri))
    import_mlflow()  # before a thread and Ray may do so both at once
    samples: list[Sample] = []
    with SystemMetrics(samples.append):
        report = train_winner(
            run,
            record.id,
            scale=scale,
            epochs=epochs,
            data=data,
            seed=seed,
            init=init,
            workers=workers,
            cluster=cluster,
            choices=choices,
            progress=_print_epoch,
            notice=_print,
        )
    with afterwards(f"; the training is kept all the same: {report.checkpoint}"):
        tracker.log_training(
            run.header,
            record,
            scale=report.scale,
            epochs=report.epochs,
            accuracy=report.accuracy,
            test_accuracy=report.test_accuracy,
            params={
                "data": report.data,
                "seed": report.seed,
                "init": report.init,
                "input": shape_words(report.input_shape),
                "peak_memory_mb": report.peak_memory_mb,
                "workers": report.workers,
                "recipe": recipe_words(report.settings),
                **{name: getattr(report.settings, name) for name in _TRACKED},
            },
            scores=report.scores,
            samples=samples,
        )
        shown = FrontDrawn(run, warn=_print).of(SearchResult.of(run), None)
        tracker.log_files(run.header, shown.files)
    return report.to_dict()


def train_winner(
    run: RunFolder,
    trial_id: str,
    *,
    scale: Scale | None = None,
    epochs: int | None = None,
    data: str | None = None,
    seed: int = 0,
    init: str | None = None,
    workers: int = 1,
    cluster: str | None = None,
    choices: Choices | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> TrainingReport:
    """Trains a trial's network and keeps it under the run's `trainings/TRIAL-SCALE/`.

    Args:
        scale: "target" where there is a GPU, or a cluster, and "full" elsewhere, if not given.
        epochs: passes over the training images, where the scale's own number is not wanted; 0 estimates the
            batch-norm statistics of weights that `init` gives, and evaluates them as they are.
        data: a data set or a folder of images or videos by class; the search's, if not given.
        init: the weights that it begins from: "scratch", "shared" (the search's), "torchvision", or a file or
            folder of weights; those that the search was given, or else "scratch", if not given.
        workers: processes that train it together, with a GPU each where there are any; one on this machine is
            this process.
        cluster: address of the Ray cluster that they are in, "auto" for this machine's; None: this machine.
        choices: what is wanted otherwise than the scale's recipe has it.
        notice: told what a user should know before a long training begins.

    Raises:
        RunError: there is no such trial, the weights are not there or do not fit, the folder cannot be
            written, or the workers do not fit.
        SettingsError: a choice that no training can have.
        DataError: the images cannot be read, or are clips where the search's are still, or the other way
            round.
        TrainingDivergedError: the loss did not stay finite.
    """
    if scale is not None and scale not in get_args(Scale):
        raise unknown_name("scale", str(scale), get_args(Scale))
    record = run.record(trial_id)
    space = parse_space(run.header.space_yaml)
    on_gpu = cluster is not None or choose_device().type != "cpu"
    scale = scale or ("target" if on_gpu else "full")
    at_target = scale == "target"
    source = data_source(data or run.header.data)
    part = space.target if at_target else space.proxy
    images = load_data(
        source,
        size=part.input_size,
        frames=part.frames,
        sampling=space.proxy.sampling,
        frame_stride=space.proxy.frame_stride,
    )
    architecture = record.architecture if at_target else space.proxy_architecture(record.architecture)
    init, weights = chosen_weights(init, run, architecture.backbone, notice)
    initial = _initial(weights, architecture, images, as_they_are=epochs == 0, notice=notice)
    proxy = settings_from_proxy(space.proxy, images)
    settings = _settings(proxy, scale, record.architecture.backbone, images, epochs or None)
    settings = (choices or Choices()).applied(settings)
    if epochs != 0 and notice is not None:
        notice(f"recipe: {recipe_words(settings)}")
    if at_target and not on_gpu and notice is not None and epochs != 0:
        notice(
            f"{settings.scores} epochs of {record.architecture.backbone} at {_px(images)} take hours on a "
            "CPU: `--scale full` trains the proxy network in minutes, `--epochs N` is shorter"
        )
    folder = training_folder(run, trial_id, scale)
    if workers == 1 and cluster is None:
        _read_by_all_cores(images)
        return train_and_keep(
            architecture,
            images,
            settings,
            scale=scale,
            seed=seed,
            folder=folder,
            source=source,
            progress=progress,
            init=init,
            initial=initial,
            only_recalibrate=epochs == 0,
        )
    _check_shares(workers, settings, images, epochs)
    from octnas.engine.together import together

    storage = run.header.options.get("storage")
    with together(workers, cluster, images=images, source=source, storage=storage) as found:
        from octnas.engine.ray_train import train_together

        for note in found.notes:
            if notice is not None:
                notice(note)
        outcome = train_together(
            architecture,
            images,
            settings,
            seed=seed,
            workers=found.workers,
            folder=folder,
            initial=initial,
            progress=progress,
            notice=notice,
            node_data=found.node_data,
        )
    return keep(
        outcome,
        architecture,
        images,
        settings,
        scale=scale,
        seed=seed,
        folder=folder,
        source=source,
        init=init,
    )


def _settings(
    proxy: TrainSettings, scale: Scale, backbone: str, images: ImageSet, epochs: int | None
) -> TrainSettings:
    """ImageNet's recipe for a target network on a set like it, else the proxy's at the scale's length."""
    count = len(images.train)
    if scale == "target" and isinstance(images.train, StreamedSplit) and count >= IMAGENET_IMAGES:
        return imagenet_settings(proxy, backbone, epochs=epochs)
    return settings_at_scale(proxy, scale, images=count, epochs=epochs)


def _check_shares(workers: int, settings: TrainSettings, images: ImageSet, epochs: int | None) -> None:
    if workers < 1:
        raise RunError(f"`workers >= 1` must hold, but got workers={workers}")
    if epochs == 0:
        raise RunError("--epochs 0 trains nothing, in one process: leave out --workers and --cluster")
    batch = min(settings.batch_size, settings.train_images or len(images.train), len(images.train))
    if batch < 2 * workers:  # batch-norm has no statistics of one image
        raise RunError(
            f"each of {workers} workers must have two images of a batch or more, but a batch has {batch}: "
            f"--workers {max(1, batch // 2)}, or a larger --batch-size"
        )


def _read_by_all_cores(images: ImageSet) -> None:
    for split in (images.train, images.val, images.test):
        if isinstance(split, StreamedSplit):
            split.workers = usable_cores()


def _initial(
    weights: Place | None,
    architecture: Architecture,
    images: ImageSet,
    *,
    as_they_are: bool,
    notice: Callable[[str], None] | None,
) -> dict[str, Tensor] | None:
    """The state dict that a training begins from; the user hears what it does not take over."""
    if weights is None:
        if as_they_are:
            raise RunError(
                "--epochs 0 evaluates weights as they are, but none are given: name some with --init"
            )
        return None
    initial, notes = fitted_weights(weights, architecture, images)
    if as_they_are and begins_anew(initial, architecture):
        raise RunError(
            f"--epochs 0 evaluates weights as they are, but {weights.name} is of other classes than "
            f"{images.name}: train --epochs 1 or more"
        )
    for note in notes:
        if notice is not None:
            notice(note)
    return initial


def _px(images: ImageSet) -> str:
    return f"{images.size} px" if images.frames is None else f"{images.frames} frames of {images.size} px"


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print_epoch(score: EpochScore, epochs: int) -> None:
    left = score.seconds * (epochs - score.epoch)
    _print(
        f"epoch {score.epoch}/{epochs}: validation accuracy {100 * score.accuracy:.2f} %, "
        f"loss {score.loss:.3f}, {score.images_per_second:.0f} samples/s, about {left:.0f} s left"
    )


def training_text(report: Mapping[str, Any]) -> str:
    """What `train` prints of `TrainingReport.to_dict()`."""
    test = report["test_accuracy"]
    kind = "images" if len(report["input_shape"]) == 3 else "clips"
    words = [f"{_NETWORKS[report['scale']]}, {report['epochs']} epochs of {report['data']}"]
    if report["epochs"] == 0:
        words = [f"the {'target' if report['scale'] == 'target' else 'proxy'} network, not trained"]
        words.append(f"its batch-norm statistics are of {report['data']}")
    if report["init"] != "scratch":
        words.append(f"begun from {init_words(report['init'])}")
    if report["workers"] > 1:
        words.append(f"{report['workers']} workers")
    lines = [
        ", ".join([*words, f"seed {report['seed']}"]),
        *([f"recipe: {recipe_words(report['settings'])}"] if report["epochs"] else []),
        f"accuracy on validation {kind}: {100 * report['accuracy']:.2f} %"
        + ("" if test is None else f", on test {kind}: {100 * test:.2f} %"),
        f"input {shape_words(report['input_shape'])}, peak memory of the training "
        f"{report['peak_memory_mb']:,.0f} MB",
        f"weights: {report['checkpoint']}",
    ]
    return "\n".join(lines)
