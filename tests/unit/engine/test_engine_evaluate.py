"""The real training behind the interface of `evaluate`, and functions found again by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import fakes
import pytest
import torch

from octnas.data import ImageSet, load_images
from octnas.engine.evaluate import Report, TrialJob, evaluate, failure_reason, name_of, named, scores_of
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


def small_data() -> ImageSet:
    data = load_images("fashion-sample")
    val = data.val.subset(120, 0)
    assert data.test is not None
    return dataclasses.replace(data, val=val, test=data.test.subset(60, 0))


def numbers(scores: list[EpochScore]) -> list[tuple[int, float, float, float | None]]:
    return [(score.epoch, score.accuracy, score.loss, score.test_accuracy) for score in scores]


def test_a_training_that_was_paused_or_died_goes_on_bit_for_bit(space: SearchSpace, tmp_path: Path) -> None:
    data = small_data()
    whole = job_of(space, tmp_path)
    proxy = whole.proxy.model_copy(update={"steps": 6, "evaluations": 3})
    whole = dataclasses.replace(whole, proxy=proxy, epochs=3, rungs=(2,))
    expected: list[EpochScore] = []
    evaluate(whole, data, lambda score: expected.append(score) is None)
    assert [score.epoch for score in expected] == [1, 2, 3]

    # Paused at the rung: its checkpoint is there, and it goes on from there.
    paused = dataclasses.replace(whole, checkpoint=tmp_path / "paused.pt")
    first: list[EpochScore] = []
    evaluate(paused, data, lambda score: first.append(score) is None and score.epoch < 2)
    assert paused.checkpoint.exists()
    second: list[EpochScore] = []
    evaluate(dataclasses.replace(paused, scored=2), data, lambda score: second.append(score) is None)
    assert numbers(first + second) == numbers(expected)

    # Its worker died after the checkpoint and before the report: what was not heard is told again.
    again: list[EpochScore] = []
    died = dataclasses.replace(whole, checkpoint=tmp_path / "died.pt")
    with pytest.raises(KeyboardInterrupt):
        evaluate(died, data, _dies_at(2))
    evaluate(dataclasses.replace(died, scored=1), data, lambda score: again.append(score) is None)
    assert numbers(again) == numbers(expected[1:])


def _dies_at(epoch: int) -> Report:
    def report(score: EpochScore) -> bool:
        if score.epoch == epoch:
            raise KeyboardInterrupt
        return True

    return report


def test_a_checkpoint_of_something_else_is_not_gone_on_from(space: SearchSpace, tmp_path: Path) -> None:
    data, job = small_data(), job_of(space, tmp_path)
    job.checkpoint.write_bytes(b"half a file")
    scores: list[EpochScore] = []
    evaluate(job, data, lambda score: scores.append(score) is None)
    other: list[EpochScore] = []
    evaluate(dataclasses.replace(job, seed=4), data, lambda score: other.append(score) is None)
    assert [score.epoch for score in scores] == [score.epoch for score in other] == [1, 2]
    assert scores[-1].loss != other[-1].loss


def test_a_training_that_confirms_scores_the_test_images_once_at_its_end(
    space: SearchSpace, tmp_path: Path
) -> None:
    data = small_data()
    scores: list[EpochScore] = []
    job = dataclasses.replace(job_of(space, tmp_path), test=True)
    evaluate(job, data, lambda score: scores.append(score) is None)
    assert scores[0].test_accuracy is None
    assert scores[1].test_accuracy is not None
    assert scores[1].test_accuracy * 60 == pytest.approx(round(scores[1].test_accuracy * 60))
    without: list[EpochScore] = []
    unseen = dataclasses.replace(job, checkpoint=tmp_path / "unseen.pt")
    evaluate(unseen, dataclasses.replace(data, test=None), lambda score: without.append(score) is None)
    assert without[1].test_accuracy is None
    assert without[1].accuracy == scores[1].accuracy


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
