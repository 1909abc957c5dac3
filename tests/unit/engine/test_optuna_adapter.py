"""What is proposed lies inside the budget, is never proposed twice, and follows from seed and history."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import product

import numpy as np
import optuna
import pytest

from octnas.architecture import Architecture
from octnas.engine.optuna_adapter import GP_DIMENSIONS, SAMPLERS, Proposer, known_sampler
from octnas.engine.optuna_samplers import SCORES, ThompsonSampler
from octnas.engine.rungs import pareto_ranks
from octnas.engine.samplers import SAMPLER_NAMES
from octnas.errors import SpaceError, UnknownNameError
from octnas.record import EpochScore, TrialRecord, TrialState
from octnas.space import SearchSpace, load_space, parse_space

BUDGET = 0.04
MODES = [*((name, False) for name in SAMPLERS), ("tpe", True)]
"""Every sampler, and TPE with one study over all backbones."""
QUICK = [mode for mode in MODES if mode[0] != "gp"]
FEW = (
    "name: few\ndescription: few\ngranularity: stage\nalphas: [0, 0.5]\nbackbones: [resnet18, resnet26]\n"
    "target: {input_size: 32, width: 16, stem: small}\n"
    "proxy: {data: fashion-sample, width: 16, epochs: 4}\n"
)


def score(epoch: int, accuracy: float) -> EpochScore:
    return EpochScore(
        epoch=epoch,
        accuracy=accuracy,
        loss=1 - accuracy,
        train_loss=1.0,
        seconds=1.0,
        train_seconds=1.0,
        images_per_second=1.0,
    )


def record_of(
    space: SearchSpace,
    architecture: Architecture,
    number: int,
    state: TrialState = TrialState.COMPLETE,
    *,
    epochs: int | None = None,
    **more: object,
) -> TrialRecord:
    """A trial whose accuracy rises with its cost and falls with its low channels in the first layer."""
    gflops = space.gflops(architecture)
    accuracy = gflops * 10 - 0.1 * architecture.alphas[0]
    epochs = 4 if epochs is None else epochs
    record = TrialRecord(
        id=str(number), architecture=architecture, state=TrialState.RUNNING, gflops=gflops, params=1
    )
    for epoch in range(1, epochs + 1):
        record = record.with_score(score(epoch, accuracy - 0.1 / epoch))
    record = record.with_state(state, "it broke" if state is TrialState.FAILED else None)
    return dataclasses.replace(record, **more)  # type: ignore[arg-type]


def proposer_of(space: SearchSpace, mode: tuple[str, bool], seed: int = 1, **more: object) -> Proposer:
    return Proposer(space.feasible(BUDGET), sampler=mode[0], grouped=mode[1], seed=seed, **more)  # type: ignore[arg-type]


def fates(number: int) -> Sequence[tuple[TrialState, int]]:
    """What becomes of a trial: states in which it is told, with the epochs scored by then."""
    paused, complete = (TrialState.PAUSED, 1), (TrialState.COMPLETE, 4)
    return {
        1: [(TrialState.STOPPED, 1)],
        2: [paused, complete],
        3: [(TrialState.FAILED, 0)],
        4: [paused, (TrialState.STOPPED, 1)],
        5: [paused, (TrialState.PAUSED, 2), complete],
    }.get(number % 7, [complete])


def drive(proposer: Proposer, space: SearchSpace, lines: int) -> list[TrialRecord]:
    """A search with two trials pending at a time and a yardstick early on; what its journal's first `lines`
    lines about trials say, in their order."""
    history: list[TrialRecord] = []
    running: list[tuple[TrialRecord, list[tuple[TrialState, int]]]] = []
    number = 0
    while len(history) < lines:
        if len(running) < 2:
            number += 1
            yardstick = "uniform-0.25" if number == 5 else None
            asked = space.uniform("resnet18", 0.25) if yardstick else proposer.ask()
            assert asked is not None
            if yardstick:
                proposer.add(asked)
            record = record_of(space, asked, number, TrialState.RUNNING, epochs=0, yardstick=yardstick)
            running.append((record, list(fates(number))))
        else:
            record, left = running.pop(0)
            (state, epochs), left = left[0], left[1:]
            record = record_of(
                space, record.architecture, int(record.id), state, epochs=epochs, yardstick=record.yardstick
            )
            proposer.tell(record)
            if left:
                running.append((record, left))
        history.append(record)
    return history


def architectures(history: Sequence[TrialRecord]) -> list[Architecture]:
    """Those proposed, in order."""
    return list({each.id: each.architecture for each in history if each.yardstick is None}.values())


def digests(history: Sequence[TrialRecord]) -> list[str]:
    return [each.digest for each in architectures(history)]


@pytest.mark.parametrize("mode", QUICK)
def test_proposals_are_members_within_the_budget_and_distinct(
    space: SearchSpace, mode: tuple[str, bool]
) -> None:
    yardstick = space.uniform("resnet18", 0.25)
    history = drive(proposer_of(space, mode, reserved=[yardstick]), space, 120)
    asked = architectures(history)
    assert all(space.contains(each) and space.gflops(each) <= BUDGET for each in asked)
    assert len(set(digests(history))) == len(asked) >= 45
    assert yardstick.digest not in digests(history)


@pytest.mark.parametrize("mode", QUICK)
def test_the_same_seed_proposes_the_same_and_another_one_does_not(
    space: SearchSpace, mode: tuple[str, bool]
) -> None:
    first, again, other = (digests(drive(proposer_of(space, mode, seed), space, 40)) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def next_three(proposer: Proposer, space: SearchSpace) -> list[str]:
    found = []
    for number in range(100, 103):
        architecture = proposer.ask()
        assert architecture is not None
        found.append(architecture.digest)
        proposer.tell(record_of(space, architecture, number))
    return found


@pytest.mark.parametrize(
    ("mode", "lines"),
    # The Gaussian process takes about a second of processor time for a proposal, once six are complete.
    [*product(QUICK, (1, 10, 24, 37, 50, 64, 100)), (("gp", False), 56)],
)
def test_a_proposer_made_anew_from_history_goes_on_as_the_old_one(
    space: SearchSpace, mode: tuple[str, bool], lines: int
) -> None:
    reserved = [space.uniform("resnet18", 0.25)]
    old = proposer_of(space, mode, reserved=reserved)
    history = drive(old, space, lines)
    anew = proposer_of(space, mode, reserved=reserved, history=history)
    assert anew.shares() == old.shares()
    assert next_three(anew, space) == next_three(old, space)


def test_confirming_and_repeated_lines_of_a_finished_trial_change_nothing(space: SearchSpace) -> None:
    history = drive(proposer_of(space, ("thompson", False)), space, 30)
    done = [each for each in history if each.state is TrialState.COMPLETE]
    one, two = (
        proposer_of(space, ("thompson", False), history=lines) for lines in (history, [*history, *done])
    )
    assert next_three(one, space) == next_three(two, space)


@pytest.mark.parametrize("mode", QUICK)
def test_a_small_space_is_proposed_whole_and_then_nothing(mode: tuple[str, bool]) -> None:
    space = parse_space(FEW)
    feasible = space.feasible(BUDGET)
    reserved = space.uniform("resnet18", 0.5)
    proposer = Proposer(feasible, sampler=mode[0], grouped=mode[1], reserved=[reserved])
    asked = []
    while (architecture := proposer.ask()) is not None:
        asked.append(architecture.digest)
        proposer.tell(record_of(space, architecture, len(asked)))
    assert len(asked) == len(set(asked)) == feasible.size - 1
    assert proposer.ask() is None
    assert proposer.shares() == {}


@pytest.mark.parametrize("mode", QUICK)
def test_a_budget_at_exactly_the_smallest_cost_leaves_one_member(mode: tuple[str, bool]) -> None:
    space = load_space("imagenet-2d")
    feasible = space.feasible(space.min_gflops)
    proposer = Proposer(feasible, sampler=mode[0], grouped=mode[1])
    assert proposer.ask() == space.smallest()
    assert proposer.ask() is None


def test_the_gaussian_process_is_refused_where_a_backbone_has_many_dimensions() -> None:
    space = load_space("imagenet-2d").restricted(backbones=["resnet18", "resnet50"])
    dimensions = {name: len(space.dimensions(name)) for name in space.backbones}
    assert dimensions["resnet18"] <= GP_DIMENSIONS < dimensions["resnet50"]
    with pytest.raises(SpaceError, match=rf"resnet50 has {dimensions['resnet50']} .* --sampler thompson"):
        Proposer(space.feasible(9.0), sampler="gp")
    # Only what fits the budget counts.
    assert Proposer(space.feasible(space.min_gflops), sampler="gp").ask() == space.smallest()


def test_each_backbone_gets_two_proposals_before_promise_decides() -> None:
    space = load_space("small-2d")
    for sampler, grouped in QUICK:
        proposer = Proposer(space.feasible(0.04), sampler=sampler, grouped=grouped)
        first = [proposer.ask() for _ in range(4)]
        assert sorted(each.backbone for each in first if each) == [
            "resnet18",
            "resnet18",
            "resnet26",
            "resnet26",
        ]


def test_shares_follow_the_front_and_leave_nobody_out(space: SearchSpace) -> None:
    proposer = Proposer(space.feasible(BUDGET), sampler="random", seed=0)
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


@pytest.mark.parametrize("mode", QUICK)
def test_what_is_over_budget_or_no_member_is_known_but_not_told(
    space: SearchSpace, mode: tuple[str, bool]
) -> None:
    proposer = Proposer(space.feasible(0.025), sampler=mode[0], grouped=mode[1])
    over = space.uniform("resnet26", 0)
    strided = space.uniform("resnet26", 0, "strided")
    for architecture in (over, strided):
        proposer.add(architecture)
        proposer.tell(record_of(space, architecture, 1))
    assert proposer.shares() == {"resnet18": 0.5, "resnet26": 0.5}
    assert proposer.ask() is not None


@pytest.mark.parametrize(
    ("mode", "state"),
    [
        (("tpe", False), TrialState.COMPLETE),
        (("tpe", True), TrialState.COMPLETE),
        (("thompson", False), TrialState.COMPLETE),
        # Nothing but early scores of trials that did not go on.
        (("thompson", False), TrialState.PAUSED),
    ],
)
def test_it_learns_where_the_good_ones_are(mode: tuple[str, bool], state: TrialState) -> None:
    """After 40 trials the proposals have fewer low channels in stage 1 than random ones, as is rewarded."""
    space = load_space("small-2d").restricted(backbones=["resnet18"])

    def mean_alpha(sampler: str, grouped: bool) -> float:
        proposer = Proposer(space.feasible(BUDGET), sampler=sampler, grouped=grouped, seed=2)
        alphas = []
        for number in range(60):
            architecture = proposer.ask()
            assert architecture is not None
            low = float(np.mean(architecture.alphas[:4]))
            record = record_of(space, architecture, number, TrialState.RUNNING, epochs=0)
            record = record.with_score(score(1, 1 - low)).with_state(state)
            proposer.tell(dataclasses.replace(record, gflops=0.03))
            if number >= 40:
                alphas.append(low)
        return float(np.mean(alphas))

    assert mean_alpha(*mode) < mean_alpha("random", False) - 0.1


def test_of_a_trial_that_was_told_twice_the_last_scores_count(space: SearchSpace) -> None:
    feasible = space.feasible(BUDGET)
    rng = np.random.default_rng(0)
    members = [feasible.sample(rng) for _ in range(12)]

    def proposal(early: Sequence[float]) -> Architecture:
        """After twelve trials, the third of which was paused first with these scores."""
        sampler = ThompsonSampler(feasible)
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        for number, member in enumerate(members):
            for accuracy in [*(early if number == 2 else ()), member.alphas[0]]:
                sampler.prepare(np.random.SeedSequence(number), member)
                trial = study.ask()
                sampler.suggested(trial)
                trial.set_user_attr(SCORES, [(1, accuracy)])
                study.tell(trial, [accuracy, space.gflops(member)])
        sampler.prepare(np.random.SeedSequence(99))
        return sampler.suggested(study.ask())

    assert proposal([]) == proposal([-9.0]) == proposal([5.0, 9.0])


def test_the_thompson_sampler_works_on_a_plain_study() -> None:
    """Optuna's own loop, one backbone, one objective: it beats random draws at the same number of trials."""
    space = load_space("small-2d").restricted(backbones=["resnet18"])
    feasible = space.feasible(0.03)
    names = [each.name for each in feasible.dimensions("resnet18")]
    weights = np.random.default_rng(3).normal(size=len(names))

    def objective(trial: optuna.Trial) -> float:
        choices = {
            each.name: trial.suggest_int(each.name, 0, each.choices - 1)
            for each in feasible.dimensions("resnet18")
        }
        assert feasible.contains(feasible.decode("resnet18", choices))
        if trial.number % 5 == 4:
            trial.set_user_attr(SCORES, [(1, float(weights @ [choices[name] for name in names]) - 1)])
            raise optuna.TrialPruned
        return float(weights @ [choices[name] for name in names])

    best = []
    for startup in (0, 40):
        study = optuna.create_study(direction="maximize", sampler=ThompsonSampler(feasible, seed=1))
        rng = np.random.default_rng(5)
        for _ in range(startup):
            study.enqueue_trial(feasible.encode(feasible.sample(rng, "resnet18")))
        study.optimize(objective, n_trials=40)
        assert len({tuple(trial.params.items()) for trial in study.trials}) >= (1 if startup else 40)
        best.append(study.best_value)
    assert best[0] > best[1]


def test_the_thompson_sampler_proposes_over_several_backbones_in_a_plain_study(space: SearchSpace) -> None:
    feasible = space.feasible(BUDGET)
    sampler = ThompsonSampler(feasible, seed=1)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        architecture = sampler.suggested(trial)
        assert feasible.contains(architecture)
        return float(architecture.backbone == "resnet26"), space.gflops(architecture)

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=30)
    late = [trial.params["backbone"] for trial in study.trials[15:]]
    assert late.count("resnet26") > late.count("resnet18")


def test_an_unknown_sampler_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'nsga2'"):
        known_sampler("nsga")


def test_every_name_has_its_sampler() -> None:
    assert tuple(SAMPLERS) == SAMPLER_NAMES


def test_grouped_proposals_of_another_sampler_are_refused(space: SearchSpace) -> None:
    with pytest.raises(UnknownNameError, match="tpe only, but got nsga2"):
        proposer_of(space, ("nsga2", True))
