"""What counts against a job that was lost with its worker."""

from __future__ import annotations

from octnas.engine.losses import RETRIES, Losses


def test_a_job_whose_worker_dies_again_and_again_is_given_up() -> None:
    losses = Losses(lambda: {"a"})
    answers = [losses.lost("1", node="a", blameless=False) for _ in range(RETRIES + 1)]
    assert answers == [True] * RETRIES + [False]


def test_a_lost_node_never_counts() -> None:
    losses = Losses(lambda: {"a"})
    assert all(losses.lost("1", node="b", blameless=True) for _ in range(100))
    for _ in range(RETRIES):
        assert losses.lost("1", node="a", blameless=False)
    assert losses.lost("1", node="b", blameless=True)
    assert not losses.lost("1", node="a", blameless=False)


def test_a_death_on_a_node_that_turns_out_to_be_gone_does_not_count() -> None:
    up = {"a", "b"}
    losses = Losses(lambda: up)
    for _ in range(RETRIES):
        assert losses.lost("1", node="b", blameless=False)
    up.remove("b")
    for _ in range(RETRIES):
        assert losses.lost("1", node="a", blameless=False)
    assert not losses.lost("1", node="a", blameless=False)


def test_an_unknown_node_counts_as_one_that_is_up() -> None:
    losses = Losses(set)
    assert [losses.lost("1", node=None, blameless=False) for _ in range(RETRIES + 1)][-1] is False


def test_jobs_are_counted_apart_and_forgotten_when_over() -> None:
    losses = Losses(lambda: {"a"})
    for _ in range(RETRIES):
        losses.lost("1", node="a", blameless=False)
    assert losses.lost("2", node="a", blameless=False)
    losses.over("1")
    assert losses.lost("1", node="a", blameless=False)
