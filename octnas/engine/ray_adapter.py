"""Ray Tune runs the trials: the one file that knows it.

The searcher and the scheduler below are thin: both hand everything to a `Campaign`, whose journal is the
truth. Tune's own records are thrown away with its folder; a search that goes on gets a fresh Tuner.

Workers find the images in the object store, put there once, and keep their process from trial to trial.

Where this process is killed outright, Ray's own watchers end its workers and servers within a minute, and the
next search removes the folders that were left behind.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from octnas.engine.campaign import Campaign
from octnas.engine.evaluate import TrialJob, failure_reason, named
from octnas.engine.limits import TIME_LIMIT
from octnas.engine.process import environment, import_folders, interruptible, new_folder, short_folder
from octnas.engine.workers import Workers
from octnas.errors import OctnasError, RunError, SearchFailedError
from octnas.record import EpochScore

# Ray reads these when it is imported. The first one makes it stay on the loopback interface on every system.
_SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1000000000",
}
for _key, _value in _SETTINGS.items():
    os.environ.setdefault(_key, _value)

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import TrialScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

__all__ = ["run_trials"]

RETRIES = 2
"""Times that a trial whose worker process died is begun again."""
OBJECT_STORE_BYTES = 256 * 2**20
"""Of Ray's shared memory, beside the images."""


def run_trials(campaign: Campaign, *, evaluate: str, data: Any, workers: Workers) -> None:
    """Trains all that the campaign asks for; returns when nothing is left, or it was halted.

    A Ray that runs in this process already is used and left running; otherwise one is started on the
    loopback interface, and nothing of it is left afterwards.

    Args:
        evaluate: the name ("module:function") of what a worker calls.
        data: what it is given, put into the object store once.
    """
    if not campaign.has_work:
        return
    with (
        _in_one_line(campaign),
        _ray(workers, evaluate, _store_bytes(data)),
        new_folder(tempfile.gettempdir(), "tune") as folder,
        interruptible(campaign.interrupt),
        contextlib.suppress(_Halt),
    ):
        campaign.note("training")
        # Tune's trials whose last word was heard. A job that is paused may come again as another of them,
        # which what Tune still says of the first must not end.
        over: set[str] = set()
        trainable = tune.with_resources(
            tune.with_parameters(_train, evaluate=evaluate, data=data),
            {"cpu": workers.cpus, **({"gpu": workers.gpus} if workers.gpus else {})},
        )
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_Asking(campaign, over),
                scheduler=_Deciding(campaign, over),
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=_folder_of,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=str(folder),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        ).fit()
    if isinstance(campaign.fault, SearchFailedError):
        campaign.stop_running("the search failed")
    if campaign.fault is not None:  # a full disk: what is running stays unfinished, for `octnas resume`
        raise campaign.fault


# -------------------------------------------------------------------- in a worker
def _train(config: dict[str, Any], *, evaluate: str, data: Any) -> None:
    """Runs one trial; an error is a result like any other, so the process lives on."""
    job: TrialJob = config["job"]
    _use_threads(job.threads)

    def report(score: EpochScore) -> bool:
        tune.report({"score": asdict(score)})  # does not return where the trial is to stop
        return True

    try:
        named(evaluate)(job, data, report)
    except Exception as error:
        tune.report({"failed": failure_reason(error), "traceback": traceback.format_exc()})


def _use_threads(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


# -------------------------------------------------------------------- in the driver
class _Halt(Exception):
    """Leaves Tune's loop, which then gives back what it reserved."""


class _Shim:
    """What both shims share: the campaign, which Tune must neither copy nor pickle."""

    campaign: Campaign

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shim:
        return self


class _Asking(_Shim, Searcher):
    """Tune's searcher: hands out the campaign's jobs."""

    def __init__(self, campaign: Campaign, over: set[str]) -> None:
        Searcher.__init__(self)
        self.campaign = campaign
        self._over = over
        self._job_ids: dict[str, str] = {}

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        campaign = self.campaign
        if len(campaign.running) >= campaign.workers:
            return None
        job = None
        with _fault_of(campaign):
            job = campaign.next_job()
        if job is not None:
            self._job_ids[trial_id] = job.id
            return {"job": job}
        return None if campaign.running else Searcher.FINISHED

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A failure for good. All else the scheduler heard, which hears of a failure even if Tune retries."""
        if error and trial_id not in self._over:
            with _fault_of(self.campaign):
                died = f"its worker process died {1 + RETRIES} times"
                self.campaign.fail(self._job_ids[trial_id], died)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a search that goes on gets a fresh Tuner."""


class _Deciding(_Shim, TrialScheduler):
    """Tune's scheduler: hands scores and failures to the campaign and its decisions to Tune."""

    _supports_buffered_results = False

    def __init__(self, campaign: Campaign, over: set[str]) -> None:
        TrialScheduler.__init__(self)  # type: ignore[no-untyped-call]
        self.campaign = campaign
        self._actors: dict[Any, Any] = {}
        self._over = over

    def end_workers(self) -> None:
        """Kills their processes: a training that is halted would otherwise go on to its end."""
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to prepare."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        campaign, trial_id = self.campaign, _id_of(trial)
        goes_on = False
        if trial.trial_id in self._over:
            return str(TrialScheduler.STOP)
        with _fault_of(campaign):
            if "failed" in result:
                campaign.fail(trial_id, result["failed"], result["traceback"])
            elif result.get("done"):  # the function returned: Tune repeats its last result
                campaign.ended(trial_id)
            else:
                goes_on = campaign.report(trial_id, _score_in(result))
        if not goes_on:
            self._over.add(trial.trial_id)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> None:
        if trial.trial_id not in self._over:
            with _fault_of(self.campaign):
                self.campaign.ended(_id_of(trial))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Tune begins the trial again in another process, or tells the searcher."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self.on_trial_complete(tune_controller, trial, {})

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first trial that waits. Tune asks at every step, so a search is halted here."""
        campaign = self.campaign
        live = tune_controller.get_live_trials()
        overdue = campaign.overdue and bool(campaign.running)
        if campaign.halted or overdue:
            self.end_workers()
            if overdue:
                with _fault_of(campaign):
                    campaign.stop_running(TIME_LIMIT)
            raise _Halt
        for actor in [each.temporary_state.ray_actor for each in live]:
            if actor is not None:
                self._actors.setdefault(actor._actor_id, actor)
        return next((each for each in live if each.status == "PENDING"), None)

    def debug_string(self) -> str:
        return "octnas"


@contextlib.contextmanager
def _fault_of(campaign: Campaign) -> Iterator[None]:
    """Tune takes an exception for a trial's: what goes wrong here (a full disk) ends the search instead."""
    try:
        yield
    except Exception as error:
        campaign.fault = campaign.fault or error


def _id_of(trial: Any) -> str:
    job: TrialJob = trial.config["job"]
    return job.id


def _folder_of(trial: Any) -> str:
    return str(trial.trial_id)


def _score_in(result: Mapping[str, Any]) -> EpochScore:
    """The score in a flattened result."""
    values = {key: value for key, value in result.items() if key.startswith("score/")}
    return EpochScore(**{key.removeprefix("score/"): value for key, value in values.items()})


# -------------------------------------------------------------------- starting and ending Ray
@contextlib.contextmanager
def _in_one_line(campaign: Campaign) -> Iterator[None]:
    """Ray that cannot start or loses its own processes (no memory, a full /tmp) ends in one line."""
    try:
        yield
    except OctnasError:
        raise
    except Exception as error:
        if campaign.interrupted:
            return  # a second Ctrl-C comes out of Ray's compiled parts as any kind of error
        if not isinstance(error, OSError | RuntimeError | ray.exceptions.RayError | tune.TuneError):
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RunError(f"Ray could not run the trials ({reason}): free memory, or disk in /tmp") from error


def _store_bytes(data: Any) -> int:
    """The size of Ray's shared memory that holds the arrays of `data` once."""
    buffers: list[pickle.PickleBuffer] = []
    pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
    return OBJECT_STORE_BYTES + sum(buffer.raw().nbytes for buffer in buffers)


@contextlib.contextmanager
def _ray(workers: Workers, evaluate: str, store_bytes: int = OBJECT_STORE_BYTES) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    inherited = {
        "PYTHONPATH": os.pathsep.join(import_folders(evaluate)),
        "OMP_NUM_THREADS": str(workers.cpus),
        "MKL_NUM_THREADS": str(workers.cpus),
        # Without a share of a GPU a trial must not see one; Ray leaves the variable alone then.
        **({"CUDA_VISIBLE_DEVICES": ""} if workers.devices and not workers.gpus else {}),
    }
    handler = signal.getsignal(signal.SIGTERM)
    with new_folder(short_folder(), "ray") as folder:
        try:
            with environment(inherited):
                ray.init(
                    address="local",
                    num_cpus=workers.cores,
                    num_gpus=workers.devices,
                    object_store_memory=store_bytes,
                    include_dashboard=False,
                    configure_logging=True,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    _temp_dir=str(folder),
                )
            for name in ("ray.tune", "ray.train", "ray.data"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            # Ray prints a paragraph on standard output for each worker that dies; its trial's row says it.
            ray._private.worker._worker_logs_enabled = False
            yield
        finally:
            ray.shutdown()
            ray._private.worker._worker_logs_enabled = True
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)
