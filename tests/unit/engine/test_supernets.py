"""Which supernet is next, who is given up, and how long each may be: worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from octnas.engine.shared_plan import fitted_length, shortened_text, whole_seconds
from octnas.engine.shared_progress import Durations
from octnas.engine.supernets import Supernets
from octnas.record import EpochScore, SupernetRecord, supernets


def made(*backbones: str, drops: bool = True, events: Any = (), images: int = 10**9) -> Supernets:
    """Of 12 epochs; with so many images the margin is the fixed one, 3 points."""
    return Supernets(backbones, epochs=12, drops=drops, images=images, events=events)


def score(epoch: int) -> EpochScore:
    return EpochScore(
        epoch=epoch, accuracy=0.5, loss=1.0, train_loss=1.0, seconds=2.0, train_seconds=1.0,
        images_per_second=1.0,
    )  # fmt: skip


def test_the_first_third_of_each_comes_before_the_rest_of_any() -> None:
    nets = made("a", "b")
    first = nets.next()
    assert first is not None
    assert (first.backbone, nets.until(first), nets.lacks_probes(first)) == ("a", 4, True)
    first.under_way = True
    second = nets.next()
    assert second is not None
    assert second.backbone == "b"
    # One that is done with its first part goes on while the other is under way still.
    second.under_way = True
    first.under_way, first.probes = False, ((0.5, 1.0),)
    assert nets.next() is first
    assert nets.until(first) == 12


@pytest.mark.parametrize(
    ("own", "others", "hopeless"),
    [
        ([(0.40, 2.0)], [(0.44, 2.0)], True),
        ([(0.40, 2.0)], [(0.42, 2.0)], False),  # not clearly
        ([(0.40, 2.0)], [(0.60, 2.1)], False),  # dearer
        ([(0.40, 2.0), (0.30, 1.0)], [(0.44, 1.0)], True),
        ([(0.40, 2.0), (0.43, 3.0)], [(0.44, 1.0)], False),  # one of them is close
        ([(0.40, 2.0), (0.10, 0.9)], [(0.44, 1.0)], False),  # nothing is as cheap as one of them
    ],
)
def test_hopeless_is_who_is_clearly_beaten_everywhere(
    own: list[tuple[float, float]], others: list[tuple[float, float]], hopeless: bool
) -> None:
    nets = made("a", "b")
    nets["a"].probes, nets["b"].probes = tuple(own), tuple(others)
    assert (nets.hopeless(nets["a"]) is not None) is hopeless
    assert nets.hopeless(nets["b"]) is None


def test_few_images_widen_the_margin() -> None:
    # Two standard errors of a difference of .4 and .46 on 400 images: 2 sqrt((.24 + .2484) / 400) = 7 points.
    for images, hopeless in ((400, False), (40_000, True)):
        nets = made("a", "b", images=images)
        nets["a"].probes, nets["b"].probes = ((0.40, 1.0),), ((0.46, 1.0),)
        assert (nets.hopeless(nets["a"]) is not None) is hopeless


def test_who_was_given_up_beats_nobody() -> None:
    nets = made("a", "b", "c")
    for name, accuracy in (("a", 0.3), ("b", 0.4), ("c", 0.31)):
        nets[name].probes = ((accuracy, 1.0),)
    nets["b"].state = "failed"
    assert nets.hopeless(nets["a"]) is None
    nets["b"].state = "complete"
    assert nets.hopeless(nets["a"]) is not None


def test_a_journal_is_taken_up() -> None:
    events = [
        *({"event": "supernet", "backbone": "a", "score": score(n).to_dict()} for n in range(1, 5)),
        {"event": "probes", "backbone": "a", "epoch": 4, "points": [[0.5, 1.0]]},
        {"event": "supernet-end", "backbone": "b", "state": "failed", "reason": "no", "seconds": 1.0},
    ]
    nets = made("a", "b", events=events)
    assert (nets["a"].epochs, nets["a"].probes, nets["a"].seconds) == (4, ((0.5, 1.0),), 8.0)
    assert [each.backbone for each in nets.unended] == ["a"]
    assert supernets(events) == [
        SupernetRecord(backbone="a", state="running", epochs=4, accuracy=0.5, seconds=8.0),
        SupernetRecord(backbone="b", state="failed", reason="no", seconds=1.0),
    ]


def test_weights_of_another_run_have_its_epochs() -> None:
    end = {"event": "supernet-end", "backbone": "a", "state": "complete", "reason": "from one"}
    known = supernets([{**end, "epochs": 24, "accuracy": 0.7, "seconds": 0.0}])
    assert known == [
        SupernetRecord(backbone="a", state="complete", reason="from one", epochs=24, accuracy=0.7)
    ]


# ---------------------------------------------------------------- time
def test_whoever_is_free_begins_the_next_training() -> None:
    assert whole_seconds([10.0, 30.0], 1) == 40.0
    assert whole_seconds([10.0, 30.0], 2) == 20.0 + 15.0


def test_supernets_are_shortened_to_what_scoring_leaves_but_not_below_their_share() -> None:
    paces = [(40.0, 1.0), (20.0, 3.0)]
    # Length 2: 80 + 40 s on one worker; 10 scores of 2 s.
    usual: dict[str, Any] = {"usual": 2.0, "workers": 1}
    assert fitted_length(paces, score=10, seconds=140.0, **usual) == 2.0
    assert fitted_length(paces, score=10, seconds=80.0, **usual) == pytest.approx(2 * 60 / 120)
    assert fitted_length(paces, score=1000, seconds=100.0, **usual) == pytest.approx(2 * 75 / 120)
    assert fitted_length(paces, score=0, seconds=-5.0, **usual) == 0.0


def test_a_supernet_much_shorter_than_usual_is_warned_of() -> None:
    assert shortened_text(4.0, 8.0).endswith("within the time limit")
    assert "0.26 trainings of one proxy instead of 8" in shortened_text(0.26, 8.0)
    assert shortened_text(0.26, 8.0).endswith("raise --max-minutes")


def test_the_time_left_follows_what_was_seen() -> None:
    durations = Durations(2, {"a": 3.0, "b": 1.0})
    nets = made("a", "b")
    assert durations.left(nets, 100) is None
    nets["a"].epochs = 2
    for _ in range(2):
        durations.epoch("a", 6.0)
    # 10 epochs of a at 6 s and, as they cost a third, 12 of b at 2 s, on two workers.
    assert durations.left(nets, 100) == (60 + 24) / 2
    durations.scores(4, 2.0)
    assert durations.left(nets, 100) == (60 + 24 + 50) / 2
    nets["a"].state = nets["b"].state = "complete"
    assert durations.left(nets, 100) == 25.0
    assert durations.left(nets, -1) == 0.0
