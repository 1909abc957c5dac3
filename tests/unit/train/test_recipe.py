"""Recipes of full trainings, and what a user changes of them."""

from __future__ import annotations

import dataclasses

import pytest

from octnas.train import TrainSettings
from octnas.train.recipe import Choices, imagenet_settings, recipe_words
from octnas.train.settings import SettingsError

PROXY = TrainSettings(steps=150, evaluations=3, train_images=4000, val_images=500, val_batch_size=100)


def test_imagenet_is_trained_as_its_authors_published() -> None:
    settings = imagenet_settings(PROXY, "resnet50")
    assert settings == TrainSettings(
        epochs=110,
        batch_size=1024,
        optimizer="sgd",
        learning_rate=0.4,
        momentum=0.9,
        weight_decay=1e-4,
        warmup=5 / 110,
        random_crop=True,
        val_batch_size=100,
    )
    steps = settings.step_bounds(1_281_167)
    assert steps[-1] == 110 * 1251
    assert round(settings.warmup * steps[-1]) == 5 * 1251


@pytest.mark.parametrize(
    ("backbone", "smoothing", "mixup"),
    [
        ("resnet101", 0, 0),
        ("resnet152", 0.1, 0.2),
        ("resnet200", 0, 0),
        ("se_resnet152", 0.1, 0.2),
        ("mobilenet_v1", 0, 0),
        ("mobilenet_v2_x1_4", 0.1, 0),
    ],
)
def test_only_some_networks_are_regularised(backbone: str, smoothing: float, mixup: float) -> None:
    settings = imagenet_settings(PROXY, backbone, epochs=3)
    assert (settings.epochs, settings.label_smoothing, settings.mixup) == (3, smoothing, mixup)


def test_choices_are_taken_and_nothing_else_is_touched() -> None:
    assert Choices().applied(PROXY) == PROXY
    chosen = Choices(mixup=0.3, ema=0.99, label_smoothing=0.05, learning_rate=0.1, batch_size=32)
    assert chosen.applied(PROXY) == dataclasses.replace(
        PROXY, mixup=0.3, ema=0.99, label_smoothing=0.05, learning_rate=0.1, batch_size=32
    )
    zero = Choices(mixup=0.0).applied(imagenet_settings(PROXY, "resnet152"))
    assert zero.mixup == 0


def test_sgd_s_rate_follows_the_batch_and_adamw_s_does_not() -> None:
    recipe = imagenet_settings(PROXY, "resnet50")
    assert Choices(batch_size=256).applied(recipe).learning_rate == pytest.approx(0.1)
    assert Choices(batch_size=256, learning_rate=0.3).applied(recipe).learning_rate == 0.3
    assert Choices(batch_size=256).applied(PROXY).learning_rate == PROXY.learning_rate


@pytest.mark.parametrize(
    "values", [{"ema": 1.0}, {"mixup": -0.1}, {"mixup": 11.0}, {"batch_size": 0}, {"learning_rate": 0.0}]
)
def test_an_impossible_choice_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="must hold"):
        Choices(**values).applied(imagenet_settings(PROXY, "resnet50"))  # type: ignore[arg-type]


def test_the_words_say_what_is_done() -> None:
    words = recipe_words(dataclasses.replace(imagenet_settings(PROXY, "resnet152"), ema=0.999))
    assert words == (
        "110 epochs of batches of 1024, SGD, learning rate 0.4 by a cosine after 5 % of warm-up, "
        "weight decay 0.0001, label smoothing 0.1, mixup 0.2, weights averaged by 0.999, random crops"
    )
    assert recipe_words(dataclasses.asdict(PROXY)).startswith("150 steps of batches of 64, AdamW")
    assert "mixup" not in recipe_words(PROXY)


def test_old_checkpoints_know_their_settings() -> None:
    # The text by which a checkpoint knows its training is that of before these settings were there.
    assert "mixup" not in repr(PROXY)
    assert PROXY.extras() == {}
    assert dataclasses.replace(PROXY, mixup=0.2, random_crop=True).extras() == {
        "mixup": "0.2",
        "random_crop": "True",
    }
