"""Many proposals at once: as good as one by one, from one model."""

from __future__ import annotations

import pytest
from test_optuna_adapter import BUDGET, record_of

from octnas.engine.optuna_adapter import Proposer
from octnas.engine.surrogate import Surrogate
from octnas.space import SearchSpace, parse_space


def told(space: SearchSpace, sampler: str, count: int = 12) -> Proposer:
    proposer = Proposer(space.feasible(BUDGET), sampler=sampler, seed=3)
    for number in range(count):
        asked = proposer.ask()
        assert asked is not None
        proposer.tell(record_of(space, asked, number))
    return proposer


@pytest.mark.parametrize("sampler", ["thompson", "tpe", "nsga2", "random"])
def test_a_batch_is_new_inside_the_budget_and_follows_from_the_seed(space: SearchSpace, sampler: str) -> None:
    batch = told(space, sampler).ask_batch(8)
    digests = [each.digest for each in batch]
    assert len(set(digests)) == 8
    assert all(space.feasible(BUDGET).contains(each) for each in batch)
    assert [each.digest for each in told(space, sampler).ask_batch(8)] == digests
    if sampler != "thompson":  # others learn nothing from what is under way, so a batch is eight questions
        one_by_one = told(space, sampler)
        asked = [one_by_one.ask() for _ in range(8)]
        assert [each.digest for each in asked if each is not None] == digests


def test_our_sampler_fits_its_model_once_a_batch(space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    proposer = told(space, "thompson")
    fits: list[int] = []
    fit = Surrogate.fit

    def counted(surrogate: Surrogate, observations: object) -> None:
        fits.append(1)
        fit(surrogate, observations)  # type: ignore[arg-type]

    monkeypatch.setattr(Surrogate, "fit", counted)
    batch = proposer.ask_batch(10)
    assert (len(fits), len(batch)) == (1, 10)
    first = proposer.ask_batch(2)
    assert len(fits) == 2
    assert not {each.digest for each in first} & {each.digest for each in batch}
    proposer.ask()
    proposer.ask()
    assert len(fits) == 4  # one by one it fits for each


def test_a_batch_is_as_large_as_what_is_left() -> None:
    few = parse_space(
        "name: few\ndescription: few\ngranularity: stage\nalphas: [0, 0.5]\nbackbones: [resnet18]\n"
        "target: {input_size: 32, width: 16, stem: small}\n"
        "proxy: {data: fashion-sample, width: 16, epochs: 4}\n"
    )
    feasible = few.feasible(BUDGET)
    size = int(feasible.size)
    proposer = Proposer(feasible, sampler="thompson")
    assert len(proposer.ask_batch(size + 5)) == size
    assert proposer.ask_batch(3) == []
