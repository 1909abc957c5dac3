"""The statistic by which proxies are compared, on scores whose spread is known."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "signal_to_noise.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT), run_name="signal_to_noise")


def test_it_finds_the_spreads_that_were_put_in(script: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    seeds = rng.normal(0, 5, (1, 400))  # what a seed does to all architectures alike is no noise
    scores = np.array([[1.0], [3.0], [5.0]]) + seeds + rng.normal(0, 0.5, (3, 400))
    signal, noise = script["signal_and_noise"](scores)
    assert signal == pytest.approx(2.0, rel=0.02)
    assert noise == pytest.approx(0.5, rel=0.05)


def test_noise_alone_is_no_signal(script: dict[str, Any]) -> None:
    found = [
        script["signal_and_noise"](np.random.default_rng(seed).normal(0, 1, (8, 3))) for seed in range(400)
    ]
    squares = [signal**2 for signal, _ in found]
    assert np.mean([noise**2 for _, noise in found]) == pytest.approx(1.0, abs=0.1)
    assert np.median(squares) < 0.1  # without the correction it would be about 1/3


def test_its_architectures_are_distinct_and_fit_the_narrow_proxies(script: dict[str, Any]) -> None:
    archs = script["architectures"]("resnet26", 2)
    assert len({arch.digest for arch in archs.values()}) == len(archs) == 8
    assert {arch.downsample for arch in archs.values()} == {"pooled"}
    for arch in archs.values():
        assert arch.rescaled(width=8, stem="small").alphas == arch.alphas


def test_a_candidate_is_read_from_its_spelling(script: dict[str, Any]) -> None:
    candidate = script["parse_candidate"](
        "name=a,data=fashion-sample,width=8,train_images=500,learning_rate=.1,optimizer=sgd"
    )
    assert (candidate.name, candidate.data, candidate.width) == ("a", "fashion-sample", 8)
    assert (candidate.train_images, candidate.learning_rate, candidate.optimizer) == (500, 0.1, "sgd")
    assert candidate.steps == 500
