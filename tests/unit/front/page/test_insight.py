"""Which layers want an octave, and how far candidates came, against figures computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from front_case import result, trial
from page_case import page_of
from searched import splits

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.front.page.insight import survival
from octnas.record import TrialRecord, TrialState

SHAPE = (3, 64, 64)


def _with(record: TrialRecord, architecture: Architecture) -> TrialRecord:
    return replace(record, architecture=architecture)


def test_means_over_the_front_and_over_all_that_are_complete() -> None:
    """Two members, of alpha 1/4 and 3/4 in the first layer; the others are dominated or not over."""
    slots = Architecture.uniform("resnet18", alpha=0).table().slots
    first, others = slots[0].channels, len(slots) - 1

    def split(low: int) -> Architecture:
        return Architecture(backbone="resnet18", low_channels=(low, *[0] * others), downsample="pooled")

    searched = result(
        _with(trial("1", 1.0, 0.80), split(first // 4)),
        _with(trial("2", 1.2, 0.90), split(3 * first // 4)),
        _with(trial("3", 1.5, 0.70), split(first // 2)),  # dominated
        _with(trial("4", 0.5, 0.60, state=TrialState.STOPPED), split(first)),
        _with(trial("5", 0.6, 0.60, state=TrialState.RUNNING), split(first)),
        _with(trial("6", 0.9, 0.79, yardstick="uniform-0.5"), split(first)),  # on the front, no candidate
        options={"target_input_shape": list(SHAPE)},
    )
    assert [each.id for each in searched.front] == ["6", "1", "2"]
    (wanted,) = page_of(searched).search["wanted"]
    assert (wanted["backbone"], wanted["members"], wanted["complete"]) == (0, 2, 3)
    layers = page_of(searched).search["backbones"][0]["layers"]
    drawn = {layers[each["layer"]]["name"]: each for each in wanted["layers"]}
    assert list(drawn) == [each["name"] for each in layers if each["name"] != "conv1"]
    here = drawn[slots[0].name]
    assert (here["alpha"], here["all"]) == (0.5, 0.5)
    macs = {
        low: {each.name: each.macs for each in cost(split(low), input_shape=SHAPE).layers}
        for low in (0, first // 4, 3 * first // 4)
    }
    for name, each in drawn.items():
        saved = macs[0][name] - (macs[first // 4][name] + macs[3 * first // 4][name]) / 2
        assert each["saved"] == pytest.approx(saved / 1e9, rel=1e-3, abs=1e-12)
        if name != slots[0].name:
            assert (each["alpha"], each["all"]) == (0, 0)
    # Of 16 x 16 px (64 px, stem and pool) and 64 x 64 channels of 3 x 3: at 1/4 low of its output and none of
    # its input, 1/4 of the multiply-adds go to a map of 8 x 8 px, so it saves 3/16; at 3/4 it saves 9/16.
    assert here["saved"] == pytest.approx(16 * 16 * 64 * 64 * 9 * (3 / 16 + 9 / 16) / 2 / 1e9, rel=1e-3)


def test_means_of_random_members_are_those_of_their_costs() -> None:
    architectures = splits("resnet50", 3, seed=1, downsample="pooled")
    records = [
        _with(trial(str(place), 1.0 + place / 4, 0.80 + place / 50, backbone="resnet50"), each)
        for place, each in enumerate(architectures)
    ]
    searched = result(*records, options={"target_input_shape": list(SHAPE)})
    search = page_of(searched).search
    (wanted,) = search["wanted"]
    layers = search["backbones"][0]["layers"]
    costs = [{each.name: each for each in cost(one, input_shape=SHAPE).layers} for one in architectures]
    for each in wanted["layers"]:
        found = [known[layers[each["layer"]]["name"]] for known in costs]
        assert each["alpha"] == pytest.approx(sum(one.low for one in found) / 3 / found[0].channels, abs=1e-4)
        assert each["all"] == each["alpha"]
        saved = sum(one.plain_macs - one.macs for one in found) / 3 / 1e9
        assert each["saved"] == pytest.approx(saved, rel=1e-3)


def test_backbones_without_a_member_of_the_front_are_left_out_and_the_most_members_come_first() -> None:
    searched = result(
        trial("1", 1.0, 0.80, backbone="resnet34"),
        trial("2", 1.1, 0.50, backbone="resnet50"),
        trial("3", 1.2, 0.85),
        trial("4", 1.3, 0.90),
        trial("5", 1.4, 0.91, yardstick="uniform-0.5", backbone="resnet26"),
    )
    search = page_of(searched).search
    names = [(search["backbones"][each["backbone"]]["name"], each["members"]) for each in search["wanted"]]
    assert names == [("resnet18", 2), ("resnet34", 1)]
    yardsticks = result(trial("1", 1.0, 0.8, yardstick="uniform-0.5"))
    assert page_of(yardsticks).search["wanted"] == []


def test_survival_counts_who_was_scored_at_each_validation() -> None:
    def ran(trial_id: str, state: TrialState, epochs: int, yardstick: str | None = None) -> TrialRecord:
        accuracy = None if state is TrialState.FAILED else 0.5
        record = trial(trial_id, 1.0, accuracy, state=state, yardstick=yardstick)
        return replace(record, epochs=epochs)

    records = [
        ran("1", TrialState.COMPLETE, 4),
        ran("2", TrialState.COMPLETE, 4),
        ran("3", TrialState.STOPPED, 1),
        ran("4", TrialState.STOPPED, 3),
        ran("5", TrialState.FAILED, 2),
        ran("6", TrialState.RUNNING, 2),
        ran("7", TrialState.PAUSED, 1),
        ran("8", TrialState.FAILED, 0),  # before any validation
        ran("9", TrialState.COMPLETE, 9, yardstick="uniform-0.5"),  # never stopped early, so it says nothing
    ]
    assert survival(records) == [
        {"epoch": 1, "complete": 2, "open": 2, "ended": 3},
        {"epoch": 2, "complete": 2, "open": 1, "ended": 2},
        {"epoch": 3, "complete": 2, "open": 0, "ended": 1},
        {"epoch": 4, "complete": 2, "open": 0, "ended": 0},
    ]
    assert page_of(result(*records)).search["survival"] == survival(records)
    assert survival([]) == []
    assert survival(records[7:]) == []
