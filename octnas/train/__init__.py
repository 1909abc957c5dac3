"""Training of one architecture: in a search, or of its winner.

Names are imported when they are first used, so that settings can be read without a tensor library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octnas.train.evaluate import evaluate_network
    from octnas.train.proxy import ProxyTraining
    from octnas.train.recipe import Scale, settings_at_scale
    from octnas.train.settings import TrainSettings, settings_from_proxy
    from octnas.train.speed import Mode, choose_device, mode_of
    from octnas.train.weights import load_weights, save_weights
    from octnas.train.winner import TrainingReport, train_and_keep

__all__ = [
    "Mode",
    "ProxyTraining",
    "Scale",
    "TrainSettings",
    "TrainingReport",
    "choose_device",
    "evaluate_network",
    "load_weights",
    "mode_of",
    "save_weights",
    "settings_at_scale",
    "settings_from_proxy",
    "train_and_keep",
]

_MODULES = {
    "Mode": "speed",
    "ProxyTraining": "proxy",
    "Scale": "recipe",
    "TrainSettings": "settings",
    "TrainingReport": "winner",
    "choose_device": "speed",
    "evaluate_network": "evaluate",
    "load_weights": "weights",
    "mode_of": "speed",
    "save_weights": "weights",
    "settings_at_scale": "recipe",
    "settings_from_proxy": "settings",
    "train_and_keep": "winner",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
