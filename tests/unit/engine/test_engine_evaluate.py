"""The real training behind the interface of `evaluate`, and functions found again by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import fakes
import pytest
import torch

from octnas.data import load_images
from octnas.engine.evaluate import TrialJob, evaluate, failure_reason, name_of, named, scores_of
from octnas.errors import RunError
from octnas.record import EpochScore
from octnas.space import SearchSpace


def job_of(space: SearchSpace, folder: Path) -> TrialJob:
    architecture = space.uniform("resnet18", 0.75)
    proxy = space.proxy.model_copy(
        update={
            "epochs": None,
            "steps": 4,
            "evaluations": 2,
            "train_images": 64,
            "val_images": 50,
            "batch_size": 8,
        }
    )
    return TrialJob(
        id="1",
        architecture=architecture,
        gflops=space.gflops(architecture),
        proxy_architecture=space.proxy_architecture(architecture),
        proxy=proxy,
        epochs=scores_of(proxy),
        seed=3,
        checkpoint=folder / "1.pt",
    )


def test_a_training_reports_each_score_and_leaves_its_weights(space: SearchSpace, tmp_path: Path) -> None:
    data = load_images("fashion-sample")
    scores: list[EpochScore] = []
    data = dataclasses.replace(data, val=data.val.subset(120, 0))
    job = job_of(space, tmp_path)

    def report(score: EpochScore) -> bool:
        assert job.checkpoint.exists() is (score.epoch == 2), "the weights are there before the last report"
        scores.append(score)
        return True

    evaluate(job, data, report)
    assert [score.epoch for score in scores] == [1, 2]
    assert scores[0].accuracy * 50 == pytest.approx(round(scores[0].accuracy * 50))
    assert scores[1].accuracy * 120 == pytest.approx(round(scores[1].accuracy * 120))
    weights = torch.load(job.checkpoint, weights_only=True)["network"]
    assert weights["fc.weight"].shape == (10, 128)

    stopped: list[EpochScore] = []

    def stop(score: EpochScore) -> bool:
        stopped.append(score)
        return False

    evaluate(dataclasses.replace(job, checkpoint=tmp_path / "2.pt"), data, stop)
    assert [(score.accuracy, score.loss) for score in stopped] == [(scores[0].accuracy, scores[0].loss)]
    assert not (tmp_path / "2.pt").exists()


def test_a_function_is_found_again_by_its_name() -> None:
    assert named(name_of(fakes.instant)) is fakes.instant
    assert name_of(evaluate) == "octnas.engine.evaluate:evaluate"
    with pytest.raises(RunError, match="importable module"):
        name_of(lambda job, data, report: None)
    with pytest.raises(RunError, match="cannot be imported"):
        named("fakes:gone")
    with pytest.raises(RunError, match="cannot be imported"):
        named("no_such_module:gone")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (KeyError(), "KeyError"),
        (RunError("a checkpoint must be readable"), "a checkpoint must be readable"),
    ],
)
def test_a_failure_is_one_line(error: Exception, line: str) -> None:
    assert failure_reason(error) == line
