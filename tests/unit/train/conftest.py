"""A task, a network and settings with which a training takes seconds."""

from __future__ import annotations

import pytest
from corners import corners_set, tiny_architecture

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.train import TrainSettings


@pytest.fixture(scope="session")
def corners() -> ImageSet:
    return corners_set()


@pytest.fixture(scope="session")
def tiny() -> Architecture:
    return tiny_architecture()


@pytest.fixture
def settings() -> TrainSettings:
    return TrainSettings(
        epochs=2, batch_size=32, learning_rate=0.01, val_images=40, precision="fp32", device="cpu"
    )
