"""Settings of every test run."""

from __future__ import annotations

from hypothesis import settings

__all__: list[str] = []

# A machine that is busy for a moment must not fail a test: nothing here is timed, examples neither.
settings.register_profile("octnas", deadline=None)
settings.load_profile("octnas")
