"""Texts that several tests share: a small search space, and what hides octnas from a Python process."""

from __future__ import annotations

TINY_SPACE = """\
name: tiny
description: two small backbones
granularity: stage
alphas: [0, 0.25, 0.5, 0.75]
backbones: [resnet18, resnet26]
target: {input_size: 32, channels: 1, classes: 10, width: 16, stem: small}
"""
"""A space of the embedded Fashion-MNIST sample; a line `proxy: {...}` makes it whole."""

WITHOUT_OCTNAS = """\
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "octnas":
            raise ImportError("blocked")

sys.meta_path.insert(0, Blocked())
"""
"""The first lines of a program in which no import finds octnas."""
