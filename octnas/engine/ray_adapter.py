"""Ray Tune runs the jobs of a driver: a search, its supernets, whatever hands out jobs (`Driver`).

The searcher and the scheduler below are thin: both hand everything to the driver, whose journal is the
truth. Tune's own records are thrown away with its folder; a driver that goes on gets a fresh Tuner.

Workers find the images and the code of users' networks in the object store, put there once, and keep their
process from job to job.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from octnas.engine import ray_cluster
from octnas.engine.driver import Driver
from octnas.engine.limits import TIME_LIMIT
from octnas.engine.losses import RETRIES
from octnas.engine.node_facts import facts
from octnas.engine.process import interruptible, new_folder
from octnas.engine.ray_faults import Faults
from octnas.engine.ray_session import StoredFiles, placed, ray_session
from octnas.engine.ray_worker import run_job
from octnas.engine.shipped import users_sources
from octnas.engine.workers import Workers
from octnas.errors import OctnasError, RunError, SearchFailedError
from octnas.record import EpochScore
from octnas.storage import Place

# isort: split
# `octnas.engine.ray_session` sets what Ray reads when it is imported, so it stands before these.
import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

__all__ = ["ray_session", "run_trials"]


def run_trials(driver: Driver, *, evaluate: str, data: Any, workers: Workers) -> None:
    """Runs all that a driver asks for; returns when nothing is left, or it was halted.

    Uses the `ray_session` that is open, or opens one for as long as it takes.

    Args:
        evaluate: the name ("module:function") of what a worker calls with a job, the data and a `report`,
            which takes an `EpochScore` or a list of JSON values.
        data: what it is given, put into the object store once.
    """
    if not driver.has_work:
        return
    with (
        _in_one_line(driver),
        ray_session(workers, evaluate, data),
        new_folder(tempfile.gettempdir(), "tune") as folder,
        interruptible(driver.interrupt),
        contextlib.suppress(_Halt),
    ):
        driver.note("training")
        # Tune's trials whose last word was heard. A job that is paused may come again as another of them,
        # which what Tune still says of the first must not end.
        over: set[str] = set()
        cluster = ray_cluster.current()
        faults = Faults(driver, cluster)
        trainable = tune.with_resources(
            tune.with_parameters(
                run_job,
                evaluate=evaluate,
                data=placed(data),
                sources=users_sources(evaluate),
                driver=None if cluster is None else facts(),
                node_data=None if cluster is None else cluster.data,
            ),
            {"cpu": workers.cpus, **({"gpu": workers.gpus} if workers.gpus else {})},
        )
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_Asking(driver, over, faults),
                scheduler=_Deciding(driver, over, faults),
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=_folder_of,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=str(folder),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),  # `Faults` says what is begun again
            ),
        ).fit()
    if isinstance(driver.fault, SearchFailedError):
        driver.stop_running("the search failed")
    if driver.fault is not None:  # a full disk: what is running stays unfinished, for `octnas resume`
        raise driver.fault


class _Halt(Exception):
    """Leaves Tune's loop, which then gives back what it reserved."""


class _Shim:
    """What both shims share: the driver, which Tune must neither copy nor pickle."""

    driver: Driver

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shim:
        return self


class _Asking(_Shim, Searcher):
    """Tune's searcher: hands out the driver's jobs."""

    def __init__(self, driver: Driver, over: set[str], faults: Faults) -> None:
        Searcher.__init__(self)
        self.driver = driver
        self._over = over
        self._faults = faults
        self._cluster = ray_cluster.current()
        self._given: dict[str, dict[str, Any]] = {}
        self._again: deque[dict[str, Any]] = deque()
        self._files = StoredFiles()

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        driver = self.driver
        if self._again:
            self._given[trial_id] = self._again.popleft()
            return self._given[trial_id]
        if self._cluster is not None:
            driver.workers = self._cluster.capacity()
        if len(driver.running) >= driver.workers:
            return None
        with _fault_of(driver):
            while (job := driver.next_job()) is not None:
                initial = getattr(job, "initial", None)
                try:
                    stored = self._files.put(initial) if isinstance(initial, Place) else None
                except RunError as error:
                    driver.fail(job.id, str(error))
                    continue
                self._given[trial_id] = {"job": job, "initial": stored}
                return self._given[trial_id]
        return None if driver.running else Searcher.FINISHED

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A worker that was lost. All else the scheduler heard."""
        given = self._given.pop(trial_id)
        if not error:
            self._faults.ended(trial_id, given["job"].id)
        elif trial_id not in self._over:
            with _fault_of(self.driver):
                job_id = given["job"].id
                if self._faults.again(trial_id, job_id):
                    self._again.append(given)
                else:
                    self.driver.fail(job_id, f"its worker process died {1 + RETRIES} times")

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a search that goes on gets a fresh Tuner."""


class _Deciding(_Shim, TrialScheduler):
    """Tune's scheduler: hands scores and failures to the driver and its decisions to Tune."""

    _supports_buffered_results = False

    def __init__(self, driver: Driver, over: set[str], faults: Faults) -> None:
        TrialScheduler.__init__(self)  # type: ignore[no-untyped-call]
        self.driver = driver
        self._actors: dict[Any, Any] = {}
        self._over = over
        self._faults = faults

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
        driver, trial_id = self.driver, _id_of(trial)
        goes_on = False
        if trial.trial_id in self._over:
            return str(TrialScheduler.STOP)
        with _fault_of(driver):
            if "failed" in result:
                driver.fail(trial_id, result["failed"], result["traceback"])
            elif result.get("done"):  # the function returned: Tune repeats its last result
                driver.ended(trial_id)
            else:
                goes_on = driver.report(trial_id, _reported(result))
        if not goes_on:
            self._over.add(trial.trial_id)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> None:
        if trial.trial_id not in self._over:
            with _fault_of(self.driver):
                self.driver.ended(_id_of(trial))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Tune tells the searcher next, but not why."""
        self._faults.errored(trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self.on_trial_complete(tune_controller, trial, {})

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first trial that waits. Tune asks at every step, so a search is halted here."""
        driver = self.driver
        live = tune_controller.get_live_trials()
        overdue = driver.overdue and bool(driver.running)
        if driver.halted or overdue:
            self.end_workers()
            if overdue:
                with _fault_of(driver):
                    driver.stop_running(TIME_LIMIT)
            raise _Halt
        for each in live:
            actor = each.temporary_state.ray_actor
            if actor is not None:
                self._actors.setdefault(actor._actor_id, actor)
                self._faults.runs_in(each.trial_id, actor._actor_id.hex())
        return next((each for each in live if each.status == "PENDING"), None)

    def debug_string(self) -> str:
        return "octnas"


@contextlib.contextmanager
def _fault_of(driver: Driver) -> Iterator[None]:
    """Tune takes an exception for a trial's: what goes wrong here (a full disk) ends the search instead."""
    try:
        yield
    except Exception as error:
        driver.fault = driver.fault or error


def _id_of(trial: Any) -> str:
    return str(trial.config["job"].id)


def _folder_of(trial: Any) -> str:
    return str(trial.trial_id)


def _reported(result: Mapping[str, Any]) -> EpochScore | list[Any]:
    """What a job reported, from a flattened result."""
    if "value" in result:
        return list(result["value"])
    values = {key: value for key, value in result.items() if key.startswith("score/")}
    return EpochScore(**{key.removeprefix("score/"): value for key, value in values.items()})


@contextlib.contextmanager
def _in_one_line(driver: Driver) -> Iterator[None]:
    """Ray that cannot start or loses its own processes (no memory, a full /tmp) ends in one line."""
    try:
        yield
    except OctnasError:
        raise
    except Exception as error:
        if driver.interrupted:
            return  # a second Ctrl-C comes out of Ray's compiled parts as any kind of error
        if not isinstance(error, OSError | RuntimeError | ray.exceptions.RayError | tune.TuneError):
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RunError(f"Ray could not run the trials ({reason}): free memory, or disk in /tmp") from error
