"""Which scored architectures are trained, and what is predicted of them: values worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from octnas.architecture import Architecture
from octnas.engine.finalists import Finalists
from octnas.record import SharedScore, TrialRecord, TrialState
from octnas.space import Feasible, SearchSpace

BUDGET = 0.04


class Sampler:
    """Has architectures of its own, and notes what it is told."""

    def __init__(self, own: Sequence[Architecture] = ()) -> None:
        self.own = list(own)
        self.added: list[tuple[str, bool]] = []
        self.told: list[str] = []

    def ask(self) -> Architecture | None:
        return self.own.pop(0) if self.own else None

    def add(self, architecture: Architecture, *, counts: bool = False) -> None:
        self.added.append((architecture.digest, counts))

    def tell(self, record: TrialRecord) -> None:
        self.told.append(record.id)


@pytest.fixture
def feasible(space: SearchSpace) -> Feasible:
    return space.feasible(BUDGET)


def by_cost(feasible: Feasible, backbone: str, count: int) -> list[Architecture]:
    """Members of a backbone, of different costs, the cheapest first."""
    import numpy as np

    found = {feasible.cost(each): each for each in feasible.walk(backbone, np.random.default_rng(0))}
    costs = sorted(found)
    return [found[cost] for cost in costs[:: len(costs) // count][:count]]


def shared(architecture: Architecture, accuracy: float) -> SharedScore:
    return SharedScore(architecture=architecture, accuracy=accuracy, loss=1 - accuracy)


def trained(
    feasible: Feasible, architecture: Architecture, accuracy: float, state: TrialState = TrialState.COMPLETE
) -> TrialRecord:
    done = state in (TrialState.COMPLETE, TrialState.STOPPED)
    return TrialRecord(
        id=architecture.digest,
        architecture=architecture,
        state=state,
        gflops=feasible.gflops(architecture),
        params=1,
        accuracy=accuracy if done else None,
        loss=1 - accuracy if done else None,
    )


def test_offsets_are_a_backbones_mean_difference_drawn_to_the_common_one(feasible: Feasible) -> None:
    a, b = by_cost(feasible, "resnet18", 4), by_cost(feasible, "resnet26", 2)
    scores = [*(shared(each, 0.5) for each in a), *(shared(each, 0.6) for each in b)]
    finalists = Finalists(feasible, scores, sampler=Sampler())
    assert finalists.predicted(scores[0]) == 0.5
    for architecture, accuracy in ((a[0], 0.54), (a[1], 0.56), (b[0], 0.62)):
        finalists.tell(trained(feasible, architecture, accuracy))
    finalists.tell(trained(feasible, a[2], 0.1, TrialState.STOPPED))  # not a whole training: tells nothing
    # Differences .04, .06 and .02: their mean is .04, and weighs as much as 2 trials.
    assert finalists.predicted(scores[3]) == pytest.approx(0.5 + (0.10 + 2 * 0.04) / 4)
    assert finalists.predicted(scores[5]) == pytest.approx(0.6 + (0.02 + 2 * 0.04) / 3)


def test_the_next_is_who_adds_most_hypervolume_to_what_was_started(feasible: Feasible) -> None:
    members = by_cost(feasible, "resnet18", 5)
    costs = [feasible.cost(each) for each in members]
    accuracies = [0.30, 0.50, 0.45, 0.60, 0.62]  # the third is dominated
    finalists = Finalists(
        feasible, [shared(*each) for each in zip(members, accuracies, strict=True)], sampler=Sampler()
    )
    # The areas that the points add in turn, from the lowest accuracy and to the budget.
    left, front, expected = dict(enumerate(zip(costs, accuracies, strict=True))), [], []
    while left:
        volumes = {i: area([*front, point]) - area(front) for i, point in left.items()}
        if max(volumes.values()) <= 1e-12:
            break
        best = max(volumes, key=lambda i: volumes[i])
        front.append(left.pop(best))
        expected.append(best)
    asked = [finalists.ask() for _ in members]
    places = [members.index(each) for each in asked if each is not None]
    assert places[: len(expected)] == expected
    assert sorted(places) == [0, 1, 2, 3, 4]
    assert finalists.ask() is None


def area(points: Sequence[tuple[float, float]]) -> float:
    total, best = 0.0, 0.30
    for cost, accuracy in sorted(points):
        if accuracy > best:
            total += (accuracy - best) * (BUDGET - cost)
            best = accuracy
    return total


def test_a_trial_that_fell_short_leaves_room_for_its_neighbours(feasible: Feasible) -> None:
    cheap, middle, dear = by_cost(feasible, "resnet18", 3)
    assert feasible.cost(middle) < feasible.cost(dear)
    others = by_cost(feasible, "resnet26", 30)
    near = next(each for each in others if feasible.cost(each) > feasible.cost(middle))
    scores = [shared(cheap, 0.3), shared(middle, 0.6), shared(dear, 0.601), shared(near, 0.59)]
    for state, following in ((TrialState.COMPLETE, dear), (TrialState.STOPPED, near)):
        finalists = Finalists(feasible, scores, sampler=Sampler())
        assert finalists.ask() == middle
        finalists.tell(trained(feasible, middle, 0.6, state))
        assert finalists.ask() == following


def test_yardsticks_and_the_history_are_known_and_the_sampler_goes_on_where_scores_end(
    feasible: Feasible,
) -> None:
    members = by_cost(feasible, "resnet18", 4)
    extra = by_cost(feasible, "resnet26", 1)
    sampler = Sampler(extra)
    finalists = Finalists(
        feasible,
        [shared(each, 0.5 + 0.01 * i) for i, each in enumerate(members)],
        reserved=members[:1],
        history=[trained(feasible, members[1], 0.6)],
        sampler=sampler,
    )
    finalists.add(members[0])
    asked = [finalists.ask() for _ in range(4)]
    assert set(asked[:2]) == {members[2], members[3]}
    assert asked[2:] == [extra[0], None]
    # Candidates count for the sampler's shares, yardsticks do not.
    assert sampler.added[0] == (members[0].digest, False)
    assert {counts for _, counts in sampler.added[1:]} == {True}
    finalists.tell(trained(feasible, members[2], 0.6))
    assert sampler.told == [members[2].digest]


def test_scores_over_the_budget_are_left_out(space: SearchSpace, feasible: Feasible) -> None:
    over = space.largest()
    assert not feasible.within(over)
    assert Finalists(feasible, [shared(over, 0.9)], sampler=Sampler()).ask() is None
