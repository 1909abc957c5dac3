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
from typing import TYPE_CHECKING, Any

from octnas.engine import ray_cluster
from octnas.engine.driver import Driver
from octnas.engine.limits import TIME_LIMIT
from octnas.engine.losses import RETRIES
from octnas.engine.node_facts import facts
from octnas.engine.process import interruptible, new_folder
from octnas.engine.ray_faults import Faults, every_loss_told
from octnas.engine.ray_nodes import node_of_actor
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
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

if TYPE_CHECKING:
    from octnas.engine.ray_cluster import Cluster

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
        every_loss_told(),
        contextlib.suppress(_Halt),
    ):
        driver.note("training")
        cluster = ray_cluster.current()
        jobs = _Jobs(driver, cluster)
        trainable = tune.with_resources(
            tune.with_parameters(
                run_job,
                evaluate=evaluate,
                data=placed(data),
                sources=users_sources(evaluate),
                driver=None if cluster is None else facts(),
                node_data=None if cluster is None else cluster.data,
                on_gpu=workers.gpus > 0,
            ),
            {"cpu": workers.cpus, **({"gpu": workers.gpus} if workers.gpus else {})},
        )
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_Asking(jobs),
                scheduler=_Deciding(jobs),
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=_folder_of,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=str(folder),
                verbose=0,
                progress_reporter=tune.CLIReporter(),  # a notebook's own clears what stands below the cell
                callbacks=[_Silent()],
                failure_config=tune.FailureConfig(max_failures=0),  # `Faults` says what is begun again
            ),
        ).fit()
    if isinstance(driver.fault, SearchFailedError):
        driver.stop_running("the search failed")
    if driver.fault is not None:  # a full disk: what is running stays unfinished, for `octnas resume`
        raise driver.fault


class _Halt(Exception):
    """Leaves Tune's loop, which then gives back what it reserved: at the end, and when a search is halted."""


class _Jobs:
    """The driver's jobs as trials of Tune's: what its searcher and its scheduler share.

    Tune must neither copy nor pickle it.
    """

    def __init__(self, driver: Driver, cluster: Cluster | None) -> None:
        self.driver = driver
        self.cluster = cluster
        self.faults = Faults(driver, cluster)
        self.given: dict[str, dict[str, Any]] = {}
        """What each of Tune's trials was given, until it is over for Tune too."""
        self.again: deque[dict[str, Any]] = deque()
        """What is to be begun again, since its worker was lost."""
        self.over: set[str] = set()
        """Trials of Tune's whose last word was heard. A job that is paused may come again as another of them,
        which what Tune still says of the first must not end."""
        self._live: set[Any] = set()
        self._actors: dict[Any, Any] = {}
        self._nodes: dict[str, str | None] = {}
        self._controller: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _Jobs:
        return self

    def ended(self, trial_id: str) -> None:
        """Tune's trial is over, as it should be."""
        self.faults.ended(trial_id, self.given.pop(trial_id)["job"].id)

    def lost(self, trial_id: str) -> None:
        """Tune's trial ended with its worker."""
        given = self.given.pop(trial_id)
        if trial_id in self.over:
            return
        with _fault_of(self.driver):
            job_id = given["job"].id
            if self.faults.again(trial_id, job_id):
                self.again.append(given)
            else:
                self.driver.fail(job_id, f"its worker process died {1 + RETRIES} times")

    def look_at(self, tune_controller: Any) -> list[Any]:
        """The trials of Tune's that are not over; those that are since the last look are dropped."""
        now = set()
        for each in list(tune_controller.get_live_trials()):
            if each.is_finished():  # Tune goes on calling those with an error live
                if each.trial_id in self.given:  # a worker that did not get free in time: Tune tells nobody
                    self.lost(each.trial_id)
                continue
            now.add(each)
            actor = each.temporary_state.ray_actor
            if actor is not None:
                self._actors.setdefault(actor._actor_id, actor)
                self.faults.runs_in(each.trial_id, actor._actor_id.hex())
        for gone in self._live - now:
            _dropped(gone, tune_controller)
        self._live = now
        if self.cluster is not None and self._controller is None:
            self._controller = _inner(tune_controller)
            self._keep_off_leaving_nodes(self._controller)
        return list(now)

    def places(self) -> int:
        """Jobs that may run at once: on nodes that stay, and those that still run on others."""
        assert self.cluster is not None
        return self.cluster.capacity() + sum(self._leaves(each) for each in self._live)

    def _leaves(self, trial: Any) -> bool:
        """Whether a trial's worker is on a node that will be taken away."""
        actor = trial.temporary_state.ray_actor
        if self.cluster is None or not self.cluster.leaving or actor is None:
            return False
        name = actor._actor_id.hex()
        if name not in self._nodes:
            self._nodes[name] = node_of_actor(name)
        return self._nodes[name] in self.cluster.leaving

    def _keep_off_leaving_nodes(self, controller: Any) -> None:
        """Ends workers that get free on nodes that will be taken away: Tune would give them more trials."""
        keep = getattr(controller, "_maybe_cache_trial_actor", None)
        if keep is not None:
            controller._maybe_cache_trial_actor = lambda trial: not self._leaves(trial) and keep(trial)

    def leave_if_halted(self) -> None:
        """Leaves Tune's loop where the driver must stop.

        The workers' processes are killed: a training that is halted would otherwise go on to its end.
        """
        driver = self.driver
        overdue = driver.overdue and bool(driver.running)
        if not (driver.halted or overdue):
            return
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
        if overdue:
            with _fault_of(driver):
                driver.stop_running(TIME_LIMIT)
        raise _Halt


class _Silent(TrialProgressCallback):
    """In place of Tune's own, which prints nothing here but keeps every trial."""

    def on_trial_result(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    def on_trial_error(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Nothing."""


class _Asking(Searcher):
    """Tune's searcher: hands out the driver's jobs."""

    def __init__(self, jobs: _Jobs) -> None:
        Searcher.__init__(self)
        self._jobs = jobs
        self._files = StoredFiles()

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        jobs, driver = self._jobs, self._jobs.driver
        jobs.leave_if_halted()
        if jobs.again:
            jobs.given[trial_id] = jobs.again.popleft()
            return jobs.given[trial_id]
        if jobs.cluster is not None:
            driver.workers = jobs.places()
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
                jobs.given[trial_id] = {"job": job, "initial": stored}
                return jobs.given[trial_id]
        if driver.running or jobs.given:
            return None
        raise _Halt  # in place of `Searcher.FINISHED`, after which Tune writes down and reads every trial

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A worker that was lost. All else the scheduler heard."""
        if error:
            self._jobs.lost(trial_id)
        else:
            self._jobs.ended(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a search that goes on gets a fresh Tuner."""


class _Deciding(TrialScheduler):
    """Tune's scheduler: hands scores and failures to the driver and its decisions to Tune."""

    _supports_buffered_results = False

    def __init__(self, jobs: _Jobs) -> None:
        TrialScheduler.__init__(self)  # type: ignore[no-untyped-call]
        self._jobs = jobs

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to prepare."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        driver, over = self._jobs.driver, self._jobs.over
        goes_on = False
        if trial.trial_id in over:
            return str(TrialScheduler.STOP)
        job_id = _id_of(trial)
        with _fault_of(driver):
            if "failed" in result:
                driver.fail(job_id, result["failed"], result["traceback"])
            elif result.get("done"):  # the function returned: Tune repeats its last result
                driver.ended(job_id)
            else:
                goes_on = driver.report(job_id, _reported(result))
        if not goes_on:
            over.add(trial.trial_id)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> None:
        if trial.trial_id not in self._jobs.over:
            with _fault_of(self._jobs.driver):
                self._jobs.driver.ended(_id_of(trial))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Tune tells the searcher next, but not why."""
        self._jobs.faults.errored(trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self.on_trial_complete(tune_controller, trial, {})

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """A trial that waits and for which no worker is being started, at every step of Tune's.

        Tune would give one whose worker is being started the next worker that is free, and end the other.
        """
        live = self._jobs.look_at(tune_controller)
        self._jobs.leave_if_halted()
        with _fault_of(self._jobs.driver):
            self._jobs.driver.pulse()
        # Those that have a worker, or for which one is being started.
        coming = getattr(_inner(tune_controller), "_trial_to_actor", ())
        return next((each for each in live if each.status == "PENDING" and each not in coming), None)

    def debug_string(self) -> str:
        return "octnas"


def _inner(tune_controller: Any) -> Any:
    """What Tune's public calls do not tell; of another Ray it may lack what is looked for."""
    return getattr(tune_controller, "_tune_controller", tune_controller)


@contextlib.contextmanager
def _fault_of(driver: Driver) -> Iterator[None]:
    """Tune takes an exception for a trial's: what goes wrong here (a full disk) ends the search instead."""
    try:
        yield
    except Exception as error:
        driver.fault = driver.fault or error


def _id_of(trial: Any) -> str:
    return str(trial.config["job"].id)


def _dropped(trial: Any, tune_controller: Any) -> None:
    """Takes a trial that is over out of Tune, which would keep all that it ever had, some 60 kB each."""
    trial.config.clear()
    trial.evaluated_params.clear()
    trial.run_metadata = type(trial.run_metadata)()
    with contextlib.suppress(ValueError):
        tune_controller.get_trials().remove(trial)
    for name in ("_live_trials", "_stopped_trials", "_failed_trials", "_trials_to_cache"):
        getattr(_inner(tune_controller), name, set[Any]()).discard(trial)


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
