"""The correction that is fitted on whole networks."""

from __future__ import annotations

import numpy as np
import pytest

from octnas.costs.ops import Op, built_in_ms
from octnas.costs.plans import network_ops
from octnas.space import load_space
from octnas.timing.correction import Measured, fit_correction
from octnas.timing.profile import random_networks

SPACE = load_space("imagenet-2d").restricted(backbones=["resnet18", "resnet50"])
TRUE = {"conv": 0.93, "pool": 1.6, "rise": 1.2, "cut": 0.8}


def networks(count: int, seed: int, noise: float = 0.0) -> tuple[list[Measured], dict[Op, float]]:
    """Networks whose latency is a corrected sum, with a share of noise."""
    rng = np.random.default_rng(seed)
    found = []
    for arch in random_networks(SPACE, count, seed):
        ops = network_ops(arch, (3, 224, 224))
        ms = 0.1 + sum(TRUE.get(op.kind, 1.0) * built_in_ms(op) + 0.002 for op in ops)
        found.append(Measured(ops=ops, ms=ms * (1 + noise * rng.standard_normal())))
    return found, {op: built_in_ms(op) for network in found for op in network.ops}


def errors(seed: int, fitted_on: list[Measured]) -> list[float]:
    unseen, times = networks(20, seed)
    correction, _ = fit_correction(
        fitted_on, {op: built_in_ms(op) for n in fitted_on for op in n.ops} | times
    )
    found = []
    for network in unseen:
        predicted = correction.constant_ms + sum(correction.op_ms(op, times[op]) for op in network.ops)
        found.append(abs(predicted / network.ms - 1))
    return found


def test_a_dozen_networks_are_enough_to_predict_unseen_ones() -> None:
    seen, times = networks(12, seed=0)
    assert max(errors(1, seen)) < 0.01
    correction, deviation = fit_correction(seen, times)
    assert correction.factors["conv"] == pytest.approx(TRUE["conv"], abs=0.03)
    assert deviation.networks == 12
    assert deviation.median_percent <= deviation.worst_percent < 1.5


def test_noise_of_some_per_cent_is_not_amplified() -> None:
    noisy, _ = networks(12, seed=0, noise=0.03)
    assert np.median(errors(1, noisy)) < 0.02


def test_no_part_of_a_network_takes_negative_time() -> None:
    seen, times = networks(8, seed=3)
    # networks that are far faster the more operations they have
    odd = [Measured(ops=each.ops, ms=each.ms * 50 / len(each.ops)) for each in seen]
    correction, _ = fit_correction(odd, times)
    assert min(correction.constant_ms, correction.per_op_ms, *correction.factors.values()) >= 0


def test_one_network_moves_all_by_its_ratio() -> None:
    (only,), times = networks(1, seed=2)
    double = Measured(ops=only.ops, ms=1.1 * sum(times[op] for op in only.ops))
    correction, deviation = fit_correction([double], times)
    predicted = correction.constant_ms + sum(correction.op_ms(op, times[op]) for op in only.ops)
    assert predicted == pytest.approx(double.ms, rel=0.01)
    assert (deviation.networks, deviation.worst_percent) == (1, 0.0)
