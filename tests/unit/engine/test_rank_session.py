"""A whole ranking on a backend without processes: what is trained, what is reused, deaths, failures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rank_case
from rank_case import FULL_EPOCHS, PROXY_EPOCHS, Backend, Store, made_search

from octnas.engine import rank
from octnas.errors import DataError, Interrupted, RunError, SearchFailedError
from octnas.front.trust import rank_warning
from octnas.record import Journal, RunFolder, TrialState
from octnas.record.ranking import read_rank


@pytest.fixture
def run(runs_home: Path) -> RunFolder:
    return made_search()


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> tuple[Backend, Store]:
    return rank_case.stand_in(monkeypatch)


def test_the_contracts_keys_and_what_is_kept(run: RunFolder, places: tuple[Backend, Store]) -> None:
    document = rank("run", models=6, seeds=2)
    json.dumps(document, allow_nan=False)
    assert document["models"] == 6
    assert 0 < document["ceiling"] <= 1
    assert list(document["proxies"]) == [
        "scratch-1",
        "scratch-2",
        "scratch",
        "training-losses",
        "gflops",
        "params",
        "synflow",
        "grad-norm",
    ]
    for found in document["proxies"].values():
        assert {"tau", "tau_interval", "spearman", "spearman_interval"} <= found.keys()
    assert document["proxies"]["grad-norm"]["tau"] is None  # the same for all
    assert document["proxies"]["training-losses"]["tau"] > 0  # lower losses are better
    assert (document["full_epochs"], document["proxy_epochs"]) == (FULL_EPOCHS, PROXY_EPOCHS)
    assert document["ranked_by"] == ["scratch"]
    assert json.loads((run.path / "rank.json").read_text()) == document
    assert places[1].logged == [("run", document, ["rank.json", "rank.png"])]
    assert not run.journal.in_use


def test_complete_trials_are_reused_and_seeds_of_full_training_are_its_own(
    run: RunFolder, places: tuple[Backend, Store]
) -> None:
    document = rank("run", models=6, seeds=2)
    backend = places[0]
    reused = {each["digest"] for each in document["architectures"] if each["trial"] is not None}
    complete = {each.architecture.digest for each in run.records() if each.state is TrialState.COMPLETE}
    assert reused
    assert reused <= complete
    scratch = {digest for kind, digest, _ in backend.trained if kind == "scratch"}
    assert scratch == {each["digest"] for each in document["architectures"]} - reused
    assert {seed for kind, _, seed in backend.trained if kind == "full"} == {2000, 2001}
    # whole seeds of all architectures, one after another
    full = [seed for kind, _, seed in backend.trained if kind == "full"]
    assert full == sorted(full)
    trial = next(each for each in document["architectures"] if each["trial"] is not None)
    assert trial["proxies"]["scratch"] == run.record(trial["trial"]).accuracy


def test_more_models_or_seeds_train_only_what_is_missing(
    run: RunFolder, places: tuple[Backend, Store]
) -> None:
    backend = places[0]
    first = rank("run", models=4, seeds=1)
    assert first["ceiling"] is None
    before = set(backend.trained)
    backend.jobs.clear()
    again = rank("run", models=4, seeds=1)
    assert backend.jobs == []
    assert again == first
    more = rank("run", models=6, seeds=2)
    assert not set(backend.trained) & before
    assert [each["digest"] for each in more["architectures"]][:4] == [
        each["digest"] for each in first["architectures"]
    ]
    backend.jobs.clear()
    longer = rank("run", models=6, seeds=1, epochs=3)  # another reference: trained anew
    assert longer["full_epochs"] == 3
    assert {kind for kind, _, _ in backend.trained} == {"full"}
    assert len(backend.trained) == 6


class Killed(BaseException):
    """What nothing catches, as nothing catches SIGKILL."""


@pytest.mark.parametrize("how", ["before", "within", "after"])
def test_a_death_at_any_line_costs_nothing_that_was_done(
    run: RunFolder, places: tuple[Backend, Store], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    backend, append, lines = places[0], Journal.append, 0

    def deadly(journal: Journal, event: dict[str, Any]) -> None:
        nonlocal lines
        lines += 1
        if lines % 5 == 0:  # also in the next life, at another line
            if how == "after":
                append(journal, event)
            elif how == "within":
                with journal.path.open("ab") as file:
                    file.write(json.dumps(event).encode()[:25])
            raise Killed
        append(journal, event)

    monkeypatch.setattr(Journal, "append", deadly)
    lives = 0
    for _ in range(60):
        try:
            document = rank("run", models=4, seeds=2)
            break
        except Killed:
            lives += 1
    monkeypatch.setattr(Journal, "append", append)
    assert lives > 3
    done = read_rank(run)
    assert len(done.models) == len({model.digest for model in done.models}) == 4
    assert len(done.trainings) == 4 * 3
    started = {each: backend.trained.count(each) for each in backend.trained}
    assert max(started.values()) <= 2  # once more where the line of its end was lost
    RunFolder.delete("run")
    made_search()
    undisturbed = rank("run", models=4, seeds=2)
    assert undisturbed == document


def test_ctrl_c_keeps_what_is_measured(run: RunFolder, places: tuple[Backend, Store]) -> None:
    backend = places[0]
    backend.stop = lambda number: number == 5
    with pytest.raises(Interrupted):
        rank("run", models=4, seeds=2)
    first = list(backend.jobs)
    assert len(first) == 5
    backend.stop = lambda number: False
    rank("run", models=4, seeds=2)
    ids = [job.id for job in backend.jobs]
    assert len(ids) == len(set(ids))


def test_full_trainings_that_all_fail_end_it(runs_home: Path, places: tuple[Backend, Store]) -> None:
    made_search(evaluate="rank_case:noisy")
    RunFolder.delete("run")
    made_search("bad", evaluate="rank_case:never")
    with pytest.raises(SearchFailedError, match="no full training today") as caught:
        rank("bad", models=4, seeds=1)
    assert caught.value.exit_code == 1


def test_an_architecture_that_fails_is_left_out_and_said(
    run: RunFolder, places: tuple[Backend, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = rank("run", models=6, seeds=1)
    victim = document["architectures"][2]["digest"]
    RunFolder.delete("run")
    made_search()
    trained = rank_case.noisy

    def fails(job: Any, data: object, report: Any) -> None:
        if job.architecture.digest == victim and job.seed == 2000:
            raise ValueError("diverged")
        trained(job, data, report)

    monkeypatch.setattr(rank_case, "noisy", fails)
    document = rank("run", models=6, seeds=1)
    assert document["models"] == 5
    assert victim not in {each["digest"] for each in document["architectures"]}
    assert any("ValueError: diverged" in each for each in document["left_out"])


def test_a_proxy_under_six_tenths_warns_and_the_search_remembers(
    run: RunFolder, places: tuple[Backend, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rank_warning(run) is None

    def upside_down(job: Any, data: object, report: Any) -> None:
        if job.epochs == FULL_EPOCHS:
            monkeypatch.setattr(rank_case, "accuracy_of", lambda job, epoch: 1 - accuracy_of(job, epoch))
        else:
            monkeypatch.setattr(rank_case, "accuracy_of", accuracy_of)
        noisy(job, data, report)

    accuracy_of, noisy = rank_case.accuracy_of, rank_case.noisy
    monkeypatch.setattr(rank_case, "noisy", upside_down)
    document = rank("run", models=6, seeds=2)
    assert document["proxies"]["scratch"]["tau"] < 0
    (sentence,) = document["warnings"]
    assert "scratch, epoch 4/4" in sentence
    assert f"{document['proxies']['scratch']['tau']:.2f}" in sentence
    assert rank_warning(run) == f"octnas rank: {sentence}"


def test_a_trustworthy_proxy_warns_of_nothing(run: RunFolder, places: tuple[Backend, Store]) -> None:
    document = rank("run", models=6, seeds=2)
    assert document["proxies"]["scratch"]["tau"] > 0.6
    assert document["warnings"] == []
    assert rank_warning(run) is None


@pytest.mark.parametrize(
    ("asked", "law"),
    [({"models": 3}, "models >= 4"), ({"seeds": 0}, "seeds <= 16"), ({"epochs": 0}, "epochs >= 1")],
)
def test_the_door(run: RunFolder, asked: dict[str, int], law: str) -> None:
    with pytest.raises(RunError, match=law):
        rank("run", **asked)  # type: ignore[arg-type]
    assert not (run.path / "rank.jsonl").exists()


def test_other_data_and_a_run_in_use_are_refused(
    runs_home: Path, run: RunFolder, places: tuple[Backend, Store]
) -> None:
    with run.journal.exclusive(), pytest.raises(RunError, match="in use"):
        rank("run", models=4)
    content = run.journal.path.read_text().replace(run.header.data_fingerprint, "0" * 12)
    run.journal.path.write_text(content)
    with pytest.raises(DataError, match="fingerprint"):
        rank("run", models=4)
    assert places[0].jobs == []
