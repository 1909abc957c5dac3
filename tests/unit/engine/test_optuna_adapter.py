"""What is proposed lies inside the budget, is never proposed twice, and is the same for the same seed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from octnas.architecture import Architecture
from octnas.engine.optuna_adapter import SAMPLERS, Proposer, known_sampler
from octnas.engine.rungs import pareto_ranks
from octnas.errors import UnknownNameError
from octnas.record import TrialRecord, TrialState
from octnas.space import SearchSpace, load_space, parse_space

BUDGET = 0.04


def record_of(
    space: SearchSpace,
    architecture: Architecture,
    number: int,
    state: TrialState = TrialState.COMPLETE,
    **more: object,
) -> TrialRecord:
    """A trial whose accuracy rises with its cost and falls with its low channels in the first layer."""
    gflops = space.gflops(architecture)
    accuracy = gflops * 10 - 0.1 * architecture.alphas[0]
    values: dict[str, object] = {"accuracy": accuracy, "loss": 1 - accuracy, "epochs": 9}
    if state is TrialState.FAILED:
        values = {"reason": "it broke"}
    record = TrialRecord(
        id=str(number),
        architecture=architecture,
        state=state,
        gflops=gflops,
        params=1,
        **values,  # type: ignore[arg-type]
    )
    return dataclasses.replace(record, **more)  # type: ignore[arg-type]


def drive(proposer: Proposer, space: SearchSpace, asks: int) -> list[Architecture]:
    """Asks with two trials pending at a time; every third trial is stopped, every seventh fails."""
    asked: list[Architecture] = []
    for number in range(1, asks + 1):
        architecture = proposer.ask()
        assert architecture is not None
        asked.append(architecture)
        if number > 1:
            state = TrialState.COMPLETE
            if number % 3 == 0:
                state = TrialState.STOPPED
            if number % 7 == 0:
                state = TrialState.FAILED
            proposer.tell(record_of(space, asked[number - 2], number, state))
    return asked


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_are_members_within_the_budget_and_distinct(space: SearchSpace, sampler: str) -> None:
    yardstick = space.uniform("resnet18", 0.25)
    proposer = Proposer(space.feasible(BUDGET), sampler=sampler, seed=1, reserved=[yardstick])
    asked = drive(proposer, space, 60)
    assert all(space.contains(each) and space.gflops(each) <= BUDGET for each in asked)
    digests = {each.digest for each in asked}
    assert len(digests) == 60
    assert yardstick.digest not in digests


def _proposer(space: SearchSpace, sampler: str, seed: int) -> Proposer:
    return Proposer(space.feasible(BUDGET), sampler=sampler, seed=seed)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_proposes_the_same_and_another_one_does_not(space: SearchSpace, sampler: str) -> None:
    first, again, other = (
        [each.digest for each in drive(_proposer(space, sampler, seed), space, 20)] for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_proposer_made_anew_from_records_asks_for_nothing_known(space: SearchSpace, sampler: str) -> None:
    asked = drive(Proposer(space.feasible(BUDGET), sampler=sampler, seed=1), space, 25)
    records = [
        record_of(space, each, n, TrialState.RUNNING if n >= 24 else TrialState.COMPLETE)
        for n, each in enumerate(asked, start=1)
    ]
    one, two = (Proposer(space.feasible(BUDGET), sampler=sampler, seed=1, records=records) for _ in range(2))
    more = [each.digest for each in drive(one, space, 20)]
    assert not set(more) & {each.digest for each in asked}
    assert more == [each.digest for each in drive(two, space, 20)]


def test_a_small_space_is_proposed_whole_and_then_nothing() -> None:
    space = parse_space(
        "name: few\ndescription: few\ngranularity: stage\nalphas: [0, 0.5]\nbackbones: [resnet18, resnet26]\n"
        "target: {input_size: 32, width: 16, stem: small}\n"
        "proxy: {data: fashion-sample, width: 16, epochs: 1}\n"
    )
    feasible = space.feasible(0.04)
    reserved = space.uniform("resnet18", 0.5)
    proposer = Proposer(feasible, seed=0, reserved=[reserved])
    asked = []
    while (architecture := proposer.ask()) is not None:
        asked.append(architecture.digest)
        proposer.tell(record_of(space, architecture, len(asked)))
    assert len(asked) == len(set(asked)) == feasible.size - 1
    assert proposer.ask() is None


def test_each_backbone_gets_two_proposals_before_promise_decides() -> None:
    space = load_space("small-2d")
    proposer = Proposer(space.feasible(0.04), seed=0)
    first = [proposer.ask() for _ in range(4)]
    assert sorted(each.backbone for each in first if each) == ["resnet18", "resnet18", "resnet26", "resnet26"]


def test_shares_follow_the_front_and_leave_nobody_out(space: SearchSpace) -> None:
    proposer = Proposer(space.feasible(BUDGET), seed=0)
    assert proposer.shares() == {"resnet18": 0.5, "resnet26": 0.5}
    rng = np.random.default_rng(0)
    points = []
    for number in range(12):
        backbone = ("resnet18", "resnet26")[number % 2]
        architecture = space.feasible(BUDGET).sample(rng, backbone)
        accuracy = space.gflops(architecture) * 10 + (0.3 if backbone == "resnet18" else 0.0)
        proposer.add(architecture)
        proposer.tell(record_of(space, architecture, number, accuracy=accuracy))
        points.append((backbone, (accuracy, space.gflops(architecture))))
    ranks = pareto_ranks([point for _, point in points])
    front = [backbone for (backbone, _), rank in zip(points, ranks, strict=True) if rank == 0]
    r18, r26 = front.count("resnet18") + 1, front.count("resnet26") + 1
    assert proposer.shares() == {"resnet18": r18 / (r18 + r26), "resnet26": r26 / (r18 + r26)}
    assert r18 > r26


def test_what_is_over_budget_or_no_member_is_known_but_not_told(space: SearchSpace) -> None:
    proposer = Proposer(space.feasible(0.025), seed=0)
    over = space.uniform("resnet26", 0)
    strided = space.uniform("resnet26", 0, "strided")
    for architecture in (over, strided):
        proposer.add(architecture)
        proposer.tell(record_of(space, architecture, 1))
    assert proposer.shares() == {"resnet18": 0.5, "resnet26": 0.5}


def test_tpe_learns_where_the_good_ones_are() -> None:
    """After 60 trials the proposals have fewer low channels in stage 1 than random ones, as is rewarded."""
    space = load_space("small-2d").restricted(backbones=["resnet18"])

    def mean_alpha(sampler: str) -> float:
        proposer = Proposer(space.feasible(BUDGET), sampler=sampler, seed=2)
        alphas = []
        for number in range(90):
            architecture = proposer.ask()
            assert architecture is not None
            low = float(np.mean(architecture.alphas[:4]))
            proposer.tell(record_of(space, architecture, number, accuracy=1 - low, gflops=0.03))
            if number >= 60:
                alphas.append(low)
        return float(np.mean(alphas))

    assert mean_alpha("tpe") < mean_alpha("random") - 0.1


def test_an_unknown_sampler_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'nsga2'"):
        known_sampler("nsga")
