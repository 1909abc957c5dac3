"""Settings, their lengths in steps, and the learning rate by step."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, get_args

import pytest

from octnas.errors import UnknownNameError
from octnas.train import Scale, TrainSettings, settings_at_scale, settings_from_proxy
from octnas.train.schedule import learning_rate
from octnas.train.settings import Optimizer, SettingsError


@dataclass(frozen=True)
class Proxy:
    train_images: int | None = 6000
    val_images: int | None = 1000
    epochs: int | None = 3
    steps: int | None = None
    evaluations: int | None = None
    batch_size: int = 64
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.2
    weight_decay: float = 1e-3
    label_smoothing: float = 0.1
    augment: bool = False


@dataclass(frozen=True)
class Images:
    train: range
    val: range


def test_epochs_are_scored_after_each_pass_of_whole_batches() -> None:
    settings = TrainSettings(epochs=3, batch_size=64)
    assert settings.step_bounds(200) == (3, 6, 9)
    assert settings.scores == 3
    assert settings.passes(200) == 3


def test_a_set_smaller_than_a_batch_gives_one_step_a_pass() -> None:
    assert TrainSettings(epochs=2, batch_size=64).step_bounds(10) == (1, 2)


def test_steps_are_scored_in_equal_shares() -> None:
    settings = TrainSettings(steps=10, evaluations=3, batch_size=50)
    assert settings.step_bounds(200) == (3, 6, 10)
    assert settings.scores == 3
    assert settings.passes(200) == 2.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "exactly one of `epochs` and `steps`"),
        ({"epochs": 1, "steps": 1}, "exactly one of `epochs` and `steps`"),
        ({"epochs": 0}, "`epochs >= 1`"),
        ({"steps": 2, "evaluations": 3}, "`evaluations <= steps`"),
        ({"epochs": 1, "batch_size": 0}, "`batch_size >= 1`"),
        ({"epochs": 1, "learning_rate": 0.0}, "`learning_rate > 0`"),
        ({"epochs": 1, "learning_rate": math.nan}, "`learning_rate > 0`"),
        ({"epochs": 1, "warmup": 1.0}, "`0 <= warmup < 1`"),
        ({"epochs": 1, "weight_decay": -1e-4}, "`weight_decay >= 0`"),
    ],
)
def test_a_setting_that_cannot_be_names_its_law(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TrainSettings(**values)


def test_an_unknown_precision_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'bf16'"):
        TrainSettings(epochs=1, precision="bf61")  # type: ignore[arg-type]


def test_an_unknown_optimizer_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'adamw'\\? known are adamw, sgd"):
        TrainSettings(epochs=1, optimizer="adam")  # type: ignore[arg-type]


def test_a_proxy_becomes_settings() -> None:
    settings = settings_from_proxy(Proxy(), Images(train=range(12_000), val=range(8_000)))
    assert settings == TrainSettings(
        epochs=3,
        batch_size=64,
        optimizer="sgd",
        learning_rate=0.2,
        weight_decay=1e-3,
        label_smoothing=0.1,
        augment=False,
        train_images=6000,
        val_images=1000,
    )


def test_a_proxy_takes_all_images_of_a_smaller_set() -> None:
    settings = settings_from_proxy(Proxy(), Images(train=range(500), val=range(1000)))
    assert (settings.train_images, settings.val_images) == (None, None)


def test_a_proxy_given_in_steps_keeps_its_evaluations() -> None:
    settings = settings_from_proxy(Proxy(epochs=None, steps=90, evaluations=9))
    assert (settings.epochs, settings.steps, settings.scores) == (None, 90, 9)


def test_full_scale_is_four_times_the_passes_over_all_images() -> None:
    proxy = TrainSettings(epochs=3, train_images=6000, learning_rate=0.2, augment=False)
    full = settings_at_scale(proxy, "full", images=12_000)
    assert full == dataclasses.replace(proxy, epochs=12, train_images=None, augment=True)


def test_full_scale_of_a_proxy_in_steps() -> None:
    proxy = TrainSettings(steps=150, evaluations=3, batch_size=40, train_images=4000)
    full = settings_at_scale(proxy, "full", images=12_000)
    assert (full.epochs, full.steps) == (6, None)  # 150 steps are 1.5 passes over 4,000 images


def test_scales_keep_to_a_number_of_epochs_that_is_asked_for() -> None:
    proxy = TrainSettings(steps=150, evaluations=3)
    assert settings_at_scale(proxy, "proxy", images=100) == proxy
    for scale in get_args(Scale):
        assert settings_at_scale(proxy, scale, images=100, epochs=2).step_bounds(100) == (1, 2)


def test_an_unknown_scale_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="full, proxy, target"):
        settings_at_scale(TrainSettings(epochs=1), "half", images=100)  # type: ignore[arg-type]


def test_the_learning_rate_rises_in_a_line_and_falls_along_a_cosine() -> None:
    rates = [learning_rate(step, total=100, peak=0.4, warmup=0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.4 * (i + 1) / 11 for i in range(10)])
    assert rates[10] == pytest.approx(0.4)
    assert rates[55] == pytest.approx(0.2)
    assert rates[99] == pytest.approx(0.4 * math.sin(math.pi / 180) ** 2, rel=1e-6)
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    assert learning_rate(0, total=1, peak=0.3, warmup=0.5) == pytest.approx(0.3)


def test_long_trainings_on_a_gpu_are_compiled() -> None:
    long, short = TrainSettings(steps=6000), TrainSettings(steps=700)
    assert long.compiles("cuda", 1000)
    assert not long.compiles("cpu", 1000)
    assert not short.compiles("cuda", 1000)
    assert TrainSettings(epochs=60, batch_size=10).compiles("cuda", 1000)
    assert TrainSettings(steps=700, compiled=True).compiles("cpu", 1000)
    assert not TrainSettings(steps=6000, compiled=False).compiles("cuda", 1000)
