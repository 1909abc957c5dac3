"""What the adapter does before a job reaches a worker; the rest needs a Ray (tests/integration)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from octnas.engine import ray_adapter as module
from octnas.engine.ray_adapter import _Asking, _Deciding, _Halt, _Jobs, _reported
from octnas.record import EpochScore

# isort: split
# `octnas.engine.ray_session`, which these import, sets what Ray reads when it is imported.
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial
from ray.tune.search import SearchGenerator


@dataclass(frozen=True)
class Job:
    id: str
    threads: int = 1
    initial: Path | None = None


class Driver:
    """Hands out the jobs that it is given."""

    workers = 1
    fault: BaseException | None = None
    interrupted = halted = overdue = False
    has_work = True

    def __init__(self, *jobs: Job) -> None:
        self.jobs = list(jobs)
        self.failed: dict[str, str] = {}
        self.running: tuple[str, ...] = ()

    def next_job(self) -> Job | None:
        return self.jobs.pop(0) if self.jobs else None

    def fail(self, job_id: str, reason: str, traceback: str = "") -> None:
        self.failed[job_id] = reason

    def report(self, job_id: str, value: Any) -> bool:
        return False

    def ended(self, job_id: str) -> None: ...
    def stop_running(self, reason: str) -> None: ...
    def interrupt(self) -> None: ...
    def pulse(self) -> None: ...
    def note(self, text: str, kind: Any = "note") -> None: ...


def test_a_job_whose_weights_are_gone_fails_and_the_next_begins(tmp_path: Path) -> None:
    driver = Driver(Job("1", initial=tmp_path / "gone.safetensors"), Job("2"))
    asked = _Asking(_Jobs(driver, None)).suggest("tune-1")
    assert (asked["job"].id, asked["initial"]) == ("2", None)
    assert list(driver.failed) == ["1"]
    assert "cannot read" in driver.failed["1"]
    assert "gone.safetensors: No such file" in driver.failed["1"]
    assert driver.fault is None


def test_what_a_driver_raises_is_its_fault_and_nothing_of_tunes() -> None:
    class Broken(Driver):
        def next_job(self) -> Job | None:
            raise RuntimeError("a full disk")

    driver = Broken()
    with pytest.raises(_Halt):
        _Asking(_Jobs(driver, None)).suggest("tune-1")
    assert str(driver.fault) == "a full disk"


def test_tune_is_left_when_its_last_trial_is_over_and_not_before() -> None:
    driver = Driver(Job("1"))
    asking = _Asking(_Jobs(driver, None))
    asking.suggest("tune-1")
    assert asking.suggest("tune-2") is None  # the last score is there, the process has not ended
    asking.on_trial_complete("tune-1")
    with pytest.raises(_Halt):
        asking.suggest("tune-2")


def test_tune_is_given_trials_for_all_workers_at_once() -> None:
    driver = Driver()
    searcher = SearchGenerator(_Asking(_Jobs(driver, None)))
    assert tune_controller._get_max_pending_trials(searcher) >= 1000


def tune_trial(job_id: str, status: str = Trial.RUNNING) -> Trial:
    job = {"job": Job(job_id)}
    trial = Trial(
        "octnas", stub=True, config=dict(job), evaluated_params=dict(job), trial_id=f"tune-{job_id}"
    )
    trial.update_last_result({"accuracy": 0.5, "training_iteration": 1})
    trial.set_status(status)
    return trial


def controller(
    *live: Trial, over: tuple[Trial, ...] = (), workers: tuple[Trial, ...] = ()
) -> SimpleNamespace:
    trials, known = [*live, *over], set(live)
    return SimpleNamespace(
        get_trials=lambda: trials,
        get_live_trials=lambda: known,
        _live_trials=known,
        _stopped_trials=set(over),
        _failed_trials={each for each in live if each.status == Trial.ERROR},
        _trials_to_cache={*live, *over},
        _trial_to_actor=dict.fromkeys(workers),
    )


@pytest.mark.parametrize("goes_on_being_live", [False, True])
def test_a_trial_that_is_over_is_taken_out_of_tune(goes_on_being_live: bool) -> None:
    over, other = tune_trial("1"), tune_trial("2")
    deciding = _Deciding(_Jobs(Driver(), None))
    deciding.choose_trial_to_run(controller(over, other))
    assert over.last_result["accuracy"] == 0.5
    if goes_on_being_live:  # as those that ended with an error do in Tune
        over.set_status(Trial.ERROR)
        tune = controller(over, other)
    else:
        tune = controller(other, over=(over,))
    deciding.choose_trial_to_run(tune)
    assert tune.get_trials() == [other]
    assert tune.get_live_trials() == tune._trials_to_cache == {other}
    assert tune._stopped_trials == tune._failed_trials == set()
    assert not any((over.config, over.evaluated_params, over.metric_n_steps, over.metric_analysis))
    assert (other.config["job"].id, other.last_result["accuracy"]) == ("2", 0.5)


def test_a_worker_that_is_being_started_is_not_taken_from_its_trial() -> None:
    waits, starts = tune_trial("1", Trial.PENDING), tune_trial("2", Trial.PENDING)
    deciding = _Deciding(_Jobs(Driver(), None))
    assert deciding.choose_trial_to_run(controller(starts, workers=(starts,))) is None
    assert deciding.choose_trial_to_run(controller(waits, starts, workers=(starts,))) is waits


class ActorID(str):
    def hex(self) -> str:
        return str(self)


def test_a_node_that_will_be_taken_away_gets_no_more_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "node_of_actor", {"aa": "stays", "bb": "goes"}.get)
    monkeypatch.setattr("octnas.engine.ray_faults.Faults.runs_in", lambda *_: None)
    cluster = SimpleNamespace(leaving=set(), capacity=lambda: 3)
    jobs = _Jobs(Driver(), cluster)
    here, there = tune_trial("1"), tune_trial("2")
    for trial, actor in ((here, "aa"), (there, "bb")):
        trial.temporary_state.ray_actor = SimpleNamespace(_actor_id=ActorID(actor))
    tune = controller(here, there)
    tune._maybe_cache_trial_actor = lambda trial: True
    jobs.look_at(tune)
    assert (jobs.places(), tune._maybe_cache_trial_actor(there)) == (3, True)
    cluster.leaving = {"goes"}
    cluster.capacity = lambda: 2
    jobs.look_at(tune)
    assert jobs.places() == 3  # two on the others, and the one that still runs there
    assert (tune._maybe_cache_trial_actor(here), tune._maybe_cache_trial_actor(there)) == (True, False)


def test_a_worker_that_does_not_get_free_is_a_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octnas.engine.ray_faults.nodes_alive", set)
    driver = Driver(Job("1"))
    jobs = _Jobs(driver, None)
    asking, deciding = _Asking(jobs), _Deciding(jobs)
    asking.suggest("tune-1")
    trial = tune_trial("1")
    deciding.choose_trial_to_run(controller(trial))
    trial.set_status(Trial.ERROR)  # Tune tells nobody
    deciding.choose_trial_to_run(controller(trial))
    assert asking.suggest("tune-2")["job"].id == "1"
    assert driver.failed == {}


def test_a_halted_driver_is_seen_while_tune_waits_for_a_trial() -> None:
    driver = Driver(Job("1"))
    driver.halted = True
    with pytest.raises(_Halt):
        _Asking(_Jobs(driver, None)).suggest("tune-1")
    assert len(driver.jobs) == 1


def test_lists_and_scores_come_out_as_they_went_in() -> None:
    values = [[0.5, None], [1, "text"]]
    assert _reported({"value": values, "done": False}) == values
    score = EpochScore(
        epoch=1, accuracy=0.5, loss=1.0, train_loss=1.0, seconds=2.0, train_seconds=1.0,
        images_per_second=3.0,
    )  # fmt: skip
    flat = {f"score/{name}": value for name, value in score.to_dict().items()}
    assert _reported({**flat, "training_iteration": 3}) == score
