"""One network trained by several workers: Ray Train places them, and starts them again after a fault.

The checkpoint of the last whole epoch lies in the training's folder on this machine. Workers elsewhere send
it to an actor here, and get it from there: no disk need be shared.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from octnas.architecture import Architecture
from octnas.data import ImageSet, StreamedSplit
from octnas.engine.node_facts import difference, facts
from octnas.engine.process import new_folder, short_folder
from octnas.engine.ray_session import placed, ray_session
from octnas.engine.shipped import receive, users_sources
from octnas.engine.workers import Workers
from octnas.errors import OctnasError, RunError, SearchFailedError, afterwards
from octnas.record import EpochScore
from octnas.train import ProxyTraining, TrainSettings
from octnas.train.files import drop_parts, written_whole
from octnas.train.memory import PeakMemory
from octnas.train.team import Team
from octnas.train.winner import CHECKPOINT, Outcome, Progress, reached

# isort: split
# `octnas.engine.ray_session` sets what Ray reads when it is imported, so it stands before these.
import ray
from ray import train
from ray.train.torch import TorchTrainer, get_device
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    from octnas.engine.node_data import NodeData

__all__ = ["train_together"]

MOST_FAULTS = 10
"""Times that workers which died are started again; nodes that their provider takes away do not count."""
POLL_SECONDS = 0.5


def train_together(
    architecture: Architecture,
    data: ImageSet,
    settings: TrainSettings,
    *,
    seed: int,
    workers: Workers,
    folder: Path,
    initial: Mapping[str, torch.Tensor] | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
    node_data: NodeData | None = None,
) -> Outcome:
    """Trains a network by `workers.count` workers, or on from the checkpoint in `folder`.

    In a Ray of its own, or in the one that this process has joined.

    Args:
        workers: of which each has `cpus` cores and a GPU or none.
        progress: told each epoch's score.
        notice: told of workers that are started again.
        node_data: how other machines find the images, where they do not travel through Ray.

    Raises:
        RunError: the folder cannot be written, or Ray cannot run.
        SearchFailedError: workers died again and again.
        DataError, TrainingDivergedError: as in `ProxyTraining`.
    """
    with ray_session(workers, "octnas.engine.ray_train:train_together", data), _in_one_line():
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        keeper_class: Any = ray.remote(_Keeper)
        keeper = keeper_class.options(num_cpus=0, scheduling_strategy=here).remote(folder)
        config = {
            "keeper": keeper,
            "node": here.node_id,
            "folder": folder,
            "data": placed(data),
            "node_data": node_data,
            "facts": facts(),
            "sources": users_sources(),
            "architecture": architecture.to_json(),
            "settings": settings,
            "seed": seed,
            "initial": None if initial is None else ray.put(dict(initial)),
            "cpus": workers.cpus,
        }
        on_gpu = workers.gpus > 0
        resources = {"CPU": workers.cpus, **({"GPU": workers.gpus} if on_gpu else {})}
        with new_folder(short_folder(), "train") as own, _told(keeper, progress, notice, settings.scores):
            trainer = _Trainer(
                _train_share,
                train_loop_config=config,
                scaling_config=train.ScalingConfig(
                    num_workers=workers.count, use_gpu=on_gpu, resources_per_worker=resources
                ),
                # Ray Train's own records; checkpoints are the keeper's.
                run_config=train.RunConfig(
                    name="train",
                    storage_path=str(own),
                    failure_config=train.FailureConfig(max_failures=MOST_FAULTS),
                ),
            )
            try:
                trainer.fit()
            except train.TrainingFailedError as error:
                _raise_kept(keeper)
                reason = " ".join(str(error).split())[-300:]
                raise SearchFailedError(
                    f"workers must live, but died {MOST_FAULTS + 1} times ({reason}); the same command goes "
                    "on after the last whole epoch"
                ) from error
            _raise_kept(keeper)
            outcome: Outcome = ray.get(keeper.outcome.remote())
    return outcome


class _Trainer(TorchTrainer):
    """Ray Train's, which leaves Ctrl-C to this process: it ends the session, and all workers with it."""

    def _register_sigint_handler(self, controller: Any) -> None:
        """Ray Train calls this; its own handler would end the process with exit code 0."""


class _Keeper:
    """Keeps a training's checkpoint on the driver's machine, and what the driver wants to know."""

    def __init__(self, folder: Path) -> None:
        drop_parts(folder)
        self.path = folder / CHECKPOINT
        self.scores: list[EpochScore] = []
        self.starts: list[int] = []
        self.error: OctnasError | None = None
        self.done: Outcome | None = None

    def begin(self, epoch: int) -> None:
        """A first worker has begun, after so many epochs."""
        self.starts.append(epoch)

    def checkpoint(self) -> bytes | None:
        return self.path.read_bytes() if self.path.is_file() else None

    def keep(self, content: bytes) -> None:
        with written_whole(self.path) as part:
            part.write_bytes(content)

    def score(self, score: EpochScore) -> None:
        self.scores.append(score)

    def fail(self, error: OctnasError) -> None:
        self.error = self.error or error

    def end(self, outcome: Outcome) -> None:
        self.done = outcome

    def over(self) -> bool:
        return self.done is not None or self.error is not None

    def failure(self) -> tuple[OctnasError | None, bool]:
        """What no other try would mend, and whether training had begun."""
        return self.error, bool(self.starts)

    def outcome(self) -> Outcome | None:
        return self.done

    def news(self, scores: int, starts: int) -> tuple[list[EpochScore], list[int]]:
        """What is new after so many scores and starts."""
        return self.scores[scores:], self.starts[starts:]


class _Checkpoint:
    """The checkpoint as a worker reaches it: as a file on the driver's machine, elsewhere by the keeper."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._keeper = config["keeper"]
        self._path: Path = config["folder"] / CHECKPOINT
        self._near = ray.get_runtime_context().get_node_id() == config["node"]

    def load(self, training: ProxyTraining) -> bool:
        """Takes the training up; answers whether there was a checkpoint of it."""
        if self._near:
            return _taken_up(training, self._path)
        content = ray.get(self._keeper.checkpoint.remote())
        with tempfile.TemporaryDirectory(prefix="octnas-") as folder:
            path = Path(folder) / CHECKPOINT
            if content is not None:
                path.write_bytes(content)
            return _taken_up(training, path)

    def save(self, training: ProxyTraining) -> None:
        if self._near:
            training.save(self._path)
            return
        with tempfile.TemporaryDirectory(prefix="octnas-") as folder:
            path = Path(folder) / CHECKPOINT
            training.save(path)
            ray.get(self._keeper.keep.remote(path.read_bytes()))


def _taken_up(training: ProxyTraining, path: Path) -> bool:
    if not training.same_as(path):
        return False
    training.load(path)
    return True


def _train_share(config: dict[str, Any]) -> None:
    """What each worker does; Ray Train calls it, again after a fault."""
    keeper = config["keeper"]
    if ray.get(keeper.over.remote()):
        return  # the fault came after the end, or cannot be mended by another try
    try:
        _train_on(config)
    except OctnasError as error:
        # What the keeper raised comes as Ray's, whose text is a whole traceback; its cause is the error.
        ray.get(keeper.fail.remote(getattr(error, "cause", None) or error))
        raise
    except torch.OutOfMemoryError as error:
        reason = " ".join(str(error).split())[:200]
        too_much = SearchFailedError(
            f"a worker's share of a batch must fit its GPU, but does not ({reason}): a smaller --batch-size, "
            "or more --workers"
        )
        ray.get(keeper.fail.remote(too_much))
        raise


def _train_on(config: dict[str, Any]) -> None:
    keeper, settings = config["keeper"], config["settings"]
    context = train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    data = _data(config)
    receive(config["sources"])
    device = get_device()
    training = ProxyTraining(
        Architecture.from_json(config["architecture"]),
        data,
        settings,
        seed=config["seed"],
        initial=None if config["initial"] is None else ray.get(config["initial"]),
        team=Team(rank=rank, size=size, device=device) if size > 1 else None,
        device=str(device),  # of a worker without a GPU the processor, whatever its machine has
    )
    memory = PeakMemory(training.mode.device)
    checkpoint = _Checkpoint(config)
    begun = checkpoint.load(training)
    _check_together(training)
    if rank == 0:
        if not begun:
            checkpoint.save(training)  # a folder that cannot be written is found now, not after an epoch
        ray.get(keeper.begin.remote(training.epoch))
    while not training.finished:
        score = training.run_epoch()
        if rank == 0:
            checkpoint.save(training)
            ray.get(keeper.score.remote(score))
    outcome = reached(training, memory)
    if rank == 0:
        ray.get(keeper.end.remote(outcome))


def _data(config: Mapping[str, Any]) -> ImageSet:
    """The images as this machine has them, read by as many processes as this worker has cores."""
    odd = difference(config["facts"], facts())
    if odd is not None:
        raise RunError(f"every node must have the versions of the driver's machine, but one has {odd}")
    data: ImageSet = ray.get(config["data"])
    if config["node_data"] is not None:
        from octnas.engine.node_data import here

        data = here(data, config["node_data"])
    for split in (data.train, data.val, data.test):
        if isinstance(split, StreamedSplit):
            split.workers = config["cpus"]
    return data


def _check_together(training: ProxyTraining) -> None:
    """All workers go on from one checkpoint: one that came in late, of a worker that died, is another try."""
    if training.team is not None:
        steps = training.team.summed(torch.tensor(training.step))
        if int(steps) != training.step * training.team.size:
            raise RuntimeError("the workers have checkpoints of different epochs")


@contextlib.contextmanager
def _told(
    keeper: Any, progress: Progress | None, notice: Callable[[str], None] | None, epochs: int
) -> Iterator[None]:
    """Hands on what the keeper hears while the block runs."""
    ended = threading.Event()
    seen = {"scores": 0, "starts": 0}

    def tell() -> None:
        scores, starts = ray.get(keeper.news.remote(seen["scores"], seen["starts"]))
        for epoch in starts:
            if seen["starts"] and notice is not None:
                notice(f"workers were started again, after {epoch} of {epochs} epochs")
            seen["starts"] += 1
        for score in scores:
            seen["scores"] += 1
            if progress is not None:
                progress(score, epochs)

    def listen() -> None:
        while not ended.wait(POLL_SECONDS):
            with contextlib.suppress(ray.exceptions.RayError):
                tell()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        ended.set()
        listener.join()
        with contextlib.suppress(ray.exceptions.RayError):
            tell()


def _raise_kept(keeper: Any) -> None:
    error, begun = ray.get(keeper.failure.remote())
    if error is not None:
        with (
            afterwards("; the same command goes on after the last whole epoch")
            if begun
            else contextlib.nullcontext()
        ):
            raise error


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    """Ray that cannot start workers or loses its own processes ends in one line."""
    try:
        yield
    except OctnasError:
        raise
    except (OSError, RuntimeError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RunError(f"Ray could not run the training ({reason}): free memory, or disk in /tmp") from error
