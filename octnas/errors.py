"""Errors that a user can meet. Each message is one line: the law, the value, the remedy.

The command line prints the message alone and exits with the error's `exit_code`: 2 where the input was at
fault and nothing was trained, 1 where the work failed afterwards. A traceback from octnas is a defect.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "ArchitectureError",
    "BudgetError",
    "ConversionError",
    "DataError",
    "DataWarning",
    "ExportError",
    "ExportTargetError",
    "FactoryError",
    "Interrupted",
    "OctnasError",
    "ProfileError",
    "RunError",
    "SearchFailedError",
    "SpaceError",
    "TimingError",
    "TrackingError",
    "TrainingDivergedError",
    "UnknownNameError",
    "afterwards",
    "unknown_name",
]


class OctnasError(Exception):
    """Any error that octnas raises for its user."""

    exit_code: int = 2


class ArchitectureError(OctnasError, ValueError):
    """An architecture, or a description of one, that does not obey its backbone's layer table."""


class BudgetError(OctnasError, ValueError):
    """A compute budget that no member of the space can meet."""


class ConversionError(OctnasError, ValueError):
    """A user's network, or a layer of it, that cannot be read as a layer table."""


class DataError(OctnasError, ValueError):
    """A data set that is missing, damaged or not laid out as documented."""


class DataWarning(UserWarning):
    """Files of a data set that are passed over, or are not quite what was asked for; one line."""


class ExportError(OctnasError, RuntimeError):
    """An exported file that does not reproduce its network."""

    exit_code = 1


class ExportTargetError(ExportError):
    """A folder that an export cannot write, or must not, found before anything is exported."""

    exit_code = 2


class FactoryError(ConversionError):
    """A factory "package.module:name" that cannot be imported, raises, or returns no network."""


class ProfileError(OctnasError, ValueError):
    """A profile of a device that is damaged, or of another device than the one at hand."""


class RunError(OctnasError, RuntimeError):
    """A search under a name that is taken, unknown, in use, or on a folder that cannot be written."""


class SearchFailedError(OctnasError, RuntimeError):
    """A search that started and could not go on, for instance because every trial failed alike."""

    exit_code = 1


class SpaceError(OctnasError, ValueError):
    """A search space that does not follow its schema."""


class TimingError(OctnasError, RuntimeError):
    """A measurement that this machine cannot make: no such device, too many threads, no batch."""


class TrackingError(OctnasError, RuntimeError):
    """A tracking server that cannot be reached."""

    away: bool = False
    """Whether it did not answer, or its database did not: it may be back after a while."""


class TrainingDivergedError(OctnasError, ArithmeticError):
    """A training whose loss is no longer a finite number."""

    exit_code = 1


class UnknownNameError(OctnasError, ValueError):
    """A name that no registry holds."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a search, after everything measured so far was written down."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@contextmanager
def afterwards(hint: str = "") -> Iterator[None]:
    """Errors inside are of work that had begun: they exit with 1, and `hint` is added to what they say."""
    try:
        yield
    except OctnasError as error:
        if error.exit_code == 2:
            error.exit_code = 1
            error.args = (f"{error}{hint}", *error.args[1:])
        raise


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a key that a registry lacks: names the nearest known key and all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UnknownNameError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")
