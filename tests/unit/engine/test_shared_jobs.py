"""What workers do for shared weights, with few images: real trainings, in parts, and real scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shared_case import BUDGET, new_run
from stand_ins import TINY_SPACE

from octnas.data import ImageSet, load_images
from octnas.engine import evaluate, shared_jobs
from octnas.engine.shared_jobs import PaceJob, ScoringJob, SupernetJob, epochs_of, evaluate_shared
from octnas.engine.shared_plan import Recipes
from octnas.engine.supernets import Supernet
from octnas.record import EpochScore, RunFolder
from octnas.space import SearchSpace, parse_space

SPACE = TINY_SPACE + (
    "proxy: {data: fashion-sample, width: 16, steps: 6, evaluations: 3, batch_size: 8, train_images: 64, "
    "val_images: 50, rungs: {min_epochs: 3}}\n"
)


@pytest.fixture
def few() -> SearchSpace:
    return parse_space(SPACE)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    data = load_images("fashion-sample", size=32)
    return replace(data, train=data.train.subset(64, 0), val=data.val.subset(60, 0))


@pytest.fixture
def run(few: SearchSpace, runs_home: Path) -> RunFolder:
    return new_run(few)


@pytest.fixture
def recipes(run: RunFolder, few: SearchSpace) -> Recipes:
    return Recipes(run, few.feasible(BUDGET))


def reported(job: Any, images: ImageSet, *, stop_after: int = 100) -> list[Any]:
    values: list[Any] = []

    def report(value: EpochScore | list[Any]) -> bool:
        values.append(value)
        return len(values) < stop_after

    evaluate_shared(job, images, report)
    return values


def figures(values: list[Any]) -> list[tuple[int, float, float]]:
    return [(each.epoch, each.accuracy, each.loss) for each in values if isinstance(each, EpochScore)]


def supernet(recipes: Recipes, **changes: Any) -> SupernetJob:
    whole = recipes.supernet(Supernet("resnet18"), length=1.0, until=3, probed=False)
    return replace(whole, **changes)


def test_a_training_in_parts_is_the_training_in_one(
    recipes: Recipes, images: ImageSet, run: RunFolder, tmp_path: Path
) -> None:
    one = supernet(recipes, checkpoint=tmp_path / "one.pt", weights=tmp_path / "one.safetensors")
    whole = reported(one, images)
    first = reported(
        supernet(
            recipes,
            until=1,
            probes=recipes.supernet(Supernet("resnet18"), length=1.0, until=1, probed=True).probes,
        ),
        images,
    )
    assert isinstance(first[-1], list)
    assert len(first[-1]) == 12
    assert all(0 <= accuracy <= 1 and loss > 0 for accuracy, loss in first[-1])
    second = reported(supernet(recipes, scored=1), images)
    assert figures(first) + figures(second) == figures(whole)
    assert [each.epoch for each in whole] == [1, 2, 3]
    assert run.supernet("resnet18").read_bytes() == (tmp_path / "one.safetensors").read_bytes()


def test_what_a_worker_died_with_is_reported_again_from_its_checkpoint(
    recipes: Recipes, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "KEPT_SECONDS", 0.0)
    job = supernet(recipes)
    died = reported(job, images, stop_after=2)  # after the checkpoint of epoch 2, whose report was lost
    assert figures(reported(replace(job, scored=1), images))[0] == figures(died)[1]
    # One that had ended writes its weights again, and has no more to say.
    job.weights.unlink()
    assert reported(replace(job, scored=3), images) == []
    assert job.weights.is_file()


def test_a_full_disk_costs_a_checkpoint_but_not_the_weights_in_silence(
    recipes: Recipes, images: ImageSet, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    job = supernet(recipes, checkpoint=tmp_path / "file" / "a.pt")
    assert len(reported(job, images)) == 3
    with pytest.raises(Exception, match="must be writable"):
        reported(replace(job, weights=tmp_path / "file" / "a.safetensors"), images)


def test_a_worker_keeps_the_supernet_from_batch_to_batch(recipes: Recipes, images: ImageSet) -> None:
    job = supernet(recipes)
    reported(job, images)
    probes = recipes.probes("resnet18")
    one, two = (recipes.scoring(n, "resnet18", probes[n : n + 2]) for n in (0, 1))
    content = job.weights.read_bytes()
    first = reported(replace(one, initial=content), images)[0]
    kept = shared_jobs._kept
    second = reported(replace(two, initial=content), images)[0]
    assert shared_jobs._kept is kept
    assert first[1] == second[0]  # the same architecture in both batches
    assert reported(one, images)[0] == first  # from the file itself
    assert shared_jobs._kept is not kept


def test_a_score_that_is_not_finite_says_so(
    recipes: Recipes, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = recipes.scoring(1, "resnet18", recipes.probes("resnet18")[:2])

    class Scorer:
        def score(self, architecture: object) -> tuple[float, float]:
            return (0.5, 1.0) if architecture == job.architectures[0] else (0.1, float("inf"))

    monkeypatch.setattr(shared_jobs, "_scorer", lambda job, data: Scorer())
    assert reported(job, images) == [[[0.5, 1.0], [None, "loss is inf"]]]


def test_a_pace_is_of_a_training_as_long_as_a_proxys(recipes: Recipes, images: ImageSet) -> None:
    job = recipes.pace("resnet18")
    assert isinstance(job, PaceJob)
    (pace,) = reported(job, images)
    training, scored = pace
    assert 0 < scored < 60
    # Six steps and three validations: no less than the four steps that were timed.
    assert 0 < training < 600


def test_epochs_follow_the_length(few: SearchSpace) -> None:
    assert [epochs_of(few.proxy, length) for length in (0.1, 1.0, 2.0)] == [1, 3, 6]


def test_jobs_are_of_the_proxy(recipes: Recipes, few: SearchSpace) -> None:
    targets = recipes.probes("resnet26")
    job = recipes.scoring(3, "resnet26", targets)
    assert isinstance(job, ScoringJob)
    assert job.targets == targets
    assert job.architectures == tuple(few.proxy_architecture(each) for each in targets)
    assert recipes.costs("resnet26") == [few.gflops(each) for each in targets]
