"""The trainings of a ranking: as long, and from where, as they should be."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rank_case

from octnas.data import ImageSet
from octnas.engine.rank_jobs import Plans, TrainingJob, UntrainedJob, work
from octnas.engine.rank_models import chosen_models
from octnas.record import RunFolder, SearchHeader
from octnas.space import SearchSpace, load_space
from octnas.train import settings_at_scale, settings_from_proxy
from octnas.train.settings import warm_settings


def _data(images: int = 4000) -> Any:
    return SimpleNamespace(train=range(images), val=range(1000))


def _run(space: SearchSpace, **options: Any) -> RunFolder:
    header = SearchHeader(
        name="run",
        space_yaml=space.to_yaml(),
        budget_gflops=1.0,
        trials=1,
        seed=7,
        data=space.proxy.data,
        options={"evaluate": "rank_case:noisy", **options},
    )
    run = RunFolder.create("run", header)
    run.journal.release()
    return run


@pytest.fixture(params=["small-2d", "imagenet-2d", "clips-small"])
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return load_space(request.param)


@pytest.mark.parametrize("epochs", [None, 3])
def test_full_training_is_that_of_train_at_scale_full(
    runs_home: Path, space: SearchSpace, epochs: int | None
) -> None:
    data, run = _data(), _run(space)
    plans = Plans(run, space, data, epochs=epochs)
    (model,) = chosen_models(space.feasible(space.max_gflops), [], 1, seed=0)
    job = plans.training("full", model, 2007)
    proxy = settings_from_proxy(space.proxy, data)
    at_scale = settings_at_scale(proxy, "full", images=4000, epochs=epochs)
    # Evaluations are those of a length in steps.
    assert settings_from_proxy(job.job.proxy, data) == dataclasses.replace(at_scale, evaluations=1)
    assert (job.job.epochs, job.job.seed, job.initial) == (plans.epochs["full"], 2007, None)
    assert job.job.proxy_architecture == space.proxy_architecture(model.architecture)
    scratch = plans.training("scratch", model, 7)
    assert settings_from_proxy(scratch.job.proxy, data) == proxy
    assert scratch.job.epochs == proxy.scores
    assert job.steps == at_scale.step_bounds(4000)[-1]
    assert job.id != scratch.id
    assert run.checkpoint(job.id).parent.is_dir()


@pytest.mark.parametrize(
    ("options", "supernet", "trials_are", "warm_from", "warm_epochs", "full_from"),
    [
        ({"init": "scratch"}, False, "scratch", None, 1, None),
        ({"init": "scratch"}, True, "scratch", "supernets", 1, None),
        ({"init": "shared"}, True, "scratch", "supernets", 1, None),
        ({"init": "shared", "fine_tune": 2}, True, "warm", "supernets", 2, None),
        ({"init": "torchvision", "fine_tune": 2}, False, "warm", "init", 2, "init"),
        ({"init": "torchvision"}, False, "warm", "init", 4, "init"),
    ],
)
def test_where_warm_starts_begin_and_how_long_they_are(
    runs_home: Path,
    options: dict[str, Any],
    supernet: bool,
    trials_are: str,
    warm_from: str | None,
    warm_epochs: int,
    full_from: str | None,
) -> None:
    space = load_space("small-2d")
    run = _run(space, **options)
    (model,) = chosen_models(space.feasible(space.max_gflops), [], 1, seed=0)
    backbone = model.architecture.backbone
    folders = {"supernets": supernet, "init": options["init"] == "torchvision"}
    for folder in (name for name, there in folders.items() if there):
        (run.path / folder).mkdir()
        (run.path / folder / f"{backbone}.safetensors").touch()
    plans = Plans(run, space, _data())
    assert plans.trials_are == trials_are
    warm = plans.warm(backbone)
    assert (None if warm is None else warm.parent.name) == warm_from
    assert plans.epochs["warm"] == warm_epochs
    job = plans.training("warm", model, 7)
    assert job.initial == warm
    proxy = settings_from_proxy(space.proxy, _data())
    tuned = proxy if job.job.fine_tune is None else warm_settings(proxy, job.job.fine_tune, 4000)
    assert job.steps == tuned.step_bounds(4000)[-1]
    full = plans.training("full", model, 2007).initial
    assert (None if full is None else full.parent.name) == full_from
    assert plans.training("scratch", model, 7).initial is None


def test_work_trains_by_the_searchs_own_function_from_what_the_backend_placed(runs_home: Path) -> None:
    space = load_space("small-2d")
    plans = Plans(_run(space), space, _data())
    (model,) = chosen_models(space.feasible(space.max_gflops), [], 1, seed=0)
    job = dataclasses.replace(
        plans.training("scratch", model, 7), evaluate=f"{__name__}:seen", initial=b"weights"
    )
    reported: list[Any] = []
    work(job, "images", lambda value: reported.append(value) is None)
    assert reported == [(job.job.id, "images", b"weights")]


def seen(job: Any, data: Any, report: Any) -> None:
    report((job.id, data, job.initial))


def test_work_scores_what_needs_no_training(runs_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octnas.train.zero_cost.zero_cost_scores", rank_case.zero_cost)
    asked: list[Any] = []

    class Scorer:
        def __init__(self, plain: Any, state: Any, data: ImageSet, settings: Any) -> None:
            asked.append(state)

        def score(self, architecture: Any) -> tuple[float, float]:
            return 0.25, 1.5 if architecture.low_channels != weird else math.inf

    monkeypatch.setattr("octnas.train.scoring.SharedScorer", Scorer)
    monkeypatch.setattr("octnas.train.pretrained.read_state", lambda source, name: {"read": source})
    space = load_space("small-2d")
    run = _run(space)
    plans = Plans(run, space, _data())
    models = [
        model
        for model in chosen_models(space.feasible(space.max_gflops), [], 4, seed=0)
        if model.architecture.backbone == "resnet18"
    ]
    weird = space.proxy_architecture(models[-1].architecture).low_channels
    reported: list[Any] = []
    job = plans.untrained(models, ("synflow", "grad-norm"), 0)
    assert isinstance(job, UntrainedJob)
    work(job, _data(), lambda value: reported.append(value) is None)
    low = sum(space.proxy_architecture(models[0].architecture).low_channels)
    assert reported[:2] == [[models[0].digest, "synflow", float(low)], [models[0].digest, "grad-norm", 1.0]]
    assert len(reported) == 2 * len(models)
    (run.path / "supernets").mkdir()
    run.supernet("resnet18").write_bytes(b"")
    reported.clear()
    job = plans.untrained(models, ("synflow", "grad-norm", "shared", "shared-loss"), 0)
    assert job.initial == run.supernet("resnet18")
    work(dataclasses.replace(job, initial=b"content"), _data(), lambda value: reported.append(value) is None)
    assert asked == [{"read": b"content"}]
    assert [model.digest for model in models] == [
        digest for digest, name, value in reported if (name, value) == ("shared", 0.25)
    ]
    assert [model.digest for model in models[:-1]] == [
        digest for digest, name, value in reported if name == "shared-loss"
    ], "a loss that is not finite cannot be written down"


def test_a_training_job_is_what_a_backend_needs(runs_home: Path) -> None:
    space = load_space("small-2d")
    plans = Plans(_run(space), space, _data())
    (model,) = chosen_models(space.feasible(space.max_gflops), [], 1, seed=0)
    job = plans.training("scratch", model, 7)
    assert isinstance(job, TrainingJob)
    assert job.threads == 1
    assert b"weights" not in repr(dataclasses.replace(job, initial=b"weights")).encode()


@pytest.mark.parametrize(("state", "there"), [("complete", True), ("dropped", False), ("failed", False)])
def test_weights_of_a_dropped_backbone_are_not_used(runs_home: Path, state: str, there: bool) -> None:
    space = load_space("small-2d")
    run = _run(space, init="shared")
    run.journal.append(
        {"event": "supernet-end", "backbone": "resnet18", "state": state, "reason": None, "seconds": 1.0}
    )
    (run.path / "supernets").mkdir()
    run.supernet("resnet18").touch()
    plans = Plans(run, space, _data())
    assert (plans.supernet("resnet18") is not None) is there
    assert (plans.warm("resnet18") is not None) is there
