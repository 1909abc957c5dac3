"""A user's factory by its name "package.module:factory": imported, called, and read as a family of backbones.

Modules are looked for in the working directory, then where Python looks, then on PYTHONPATH. The factory is
called with those of `num_classes`, `in_channels` and `width` that it takes, by keyword.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import nn

from octnas.backbones import Family, LayerTable, layer_table
from octnas.errors import ArchitectureError, ConversionError, FactoryError
from octnas.trace.adhoc import PREFIX, known
from octnas.trace.importing import home_of, imported, place, quiet, raised
from octnas.trace.measure import GIVE_SIZE
from octnas.trace.reading import traced, usual_input
from octnas.trace.table import TracedTable

__all__ = ["family"]

SMALLER_SIDES = (112, 32)
"""Sides in px at which a network is read that cannot take the usual one, the first that it can."""
WHOLE = 64
"""The width of an architecture that stands for the network as its factory makes it."""
_PASSED = ("num_classes", "in_channels", "width")
_ASKED_ANYWAY = {"num_classes": 1000, "in_channels": 3, "width": WHOLE}
"""What a factory is given that has no default for it."""
_REFUSED = re.compile(r"got an unexpected keyword argument '(num_classes|in_channels)'")


@functools.lru_cache(maxsize=256)
def family(name: str) -> Family:
    """The family of a user's network: how its table and its module are made.

    Args:
        name: "package.module:factory", or the name that `octnas.convert` gave a module.

    Raises:
        FactoryError: there is no such factory, it raises, or it returns no module.
        ConversionError: its network cannot be read as a layer table.
    """
    if name.startswith(PREFIX):
        return _converted(name)
    factory = _Factory.find(name)
    module = factory.make()
    side, table = _read(factory, module)
    return Family(
        members=(name,),
        table=factory.table,
        dims=table.dims,
        side=side,
        frames=table.input_shape[1] if table.dims == 3 else 8,
        channels=table.in_channels,
        classes=table.num_classes,
        network=factory.network,
        takes_width="width" in factory.takes,
    )


def _converted(name: str) -> Family:
    found = known(name)
    if found is None:
        raise FactoryError(
            f"{name} must have been made by octnas.convert in this process, but was not: convert the module "
            "again, or name its factory as package.module:factory"
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Factory:
    """A function of the user's that makes a network."""

    name: str
    call: Callable[..., object]
    home: Path | None
    """Folder of the user's top package, whose lines are named where it raises."""
    takes: frozenset[str]
    """Those of `_PASSED` that it takes."""
    needs: frozenset[str]
    """Those for which it has no default."""
    width: int | float | None
    """Its own default width."""

    @classmethod
    def find(cls, name: str) -> _Factory:
        """The factory of a name, imported.

        Raises:
            FactoryError: there is none, or it needs an argument that no network here is given.
        """
        module, call = imported(name)
        if not callable(call):
            raise FactoryError(f"{name} must be a function or a class, but is {_a(call)}: name the factory")
        try:
            parameters = inspect.signature(call).parameters
        except (TypeError, ValueError):
            parameters = inspect.signature(lambda **kwargs: None).parameters
        plain = {
            key: each
            for key, each in parameters.items()
            if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
        }
        for key, each in plain.items():
            if each.default is each.empty and (key not in _PASSED or each.kind is each.POSITIONAL_ONLY):
                raise FactoryError(
                    f"{name} must have defaults for all but num_classes, in_channels and width, but "
                    f"{key!r} has none: give it one, or name a function that calls {name.rpartition(':')[2]} "
                    "with it"
                )
        takes = {key for key in _PASSED if key in plain}
        width = plain["width"].default if "width" in plain else None
        if "width" in plain and (isinstance(width, bool) or not isinstance(width, int | float)):
            if width not in (inspect.Parameter.empty, None):
                raise FactoryError(
                    f"the default of `width` of {name} must be a number, but is {width!r}: call it otherwise"
                )
            width = None
        factory = cls(
            name=name,
            call=call,
            home=home_of(module),
            takes=frozenset(takes),
            needs=frozenset(
                key
                for key in takes
                if plain[key].default is inspect.Parameter.empty or (key == "width" and width is None)
            ),
            width=width,
        )
        return factory._with_others() if len(plain) < len(parameters) else factory

    def _with_others(self) -> _Factory:
        """The same factory, whose **kwargs may take more of what is passed: those that it does not refuse."""
        others = {"num_classes", "in_channels"} - self.takes
        while others:
            takes = self.takes | others
            factory = _Factory(
                name=self.name,
                call=self.call,
                home=self.home,
                takes=takes,
                needs=self.needs | others,
                width=self.width,
            )
            try:
                with quiet(), torch.random.fork_rng(devices=[]):
                    factory.call(**factory._arguments(WHOLE, None, None))
            except Exception as error:
                refused = _REFUSED.search(str(error)) if isinstance(error, TypeError) else None
                if refused is None or refused[1] not in others:
                    return self
                others.discard(refused[1])
                continue
            return _Factory(
                name=self.name,
                call=self.call,
                home=self.home,
                takes=takes,
                needs=self.needs,
                width=self.width,
            )
        return self

    def make(
        self, *, width: int = WHOLE, in_channels: int | None = None, num_classes: int | None = None
    ) -> nn.Module:
        """A network of the factory; None: its own default. No one's random numbers are drawn for it.

        Raises:
            FactoryError: it raises, or returns no module.
            ArchitectureError: it has no network of this width.
        """
        with torch.random.fork_rng(devices=[]):
            return self.fresh(width=width, in_channels=in_channels, num_classes=num_classes)

    def fresh(
        self, *, width: int = WHOLE, in_channels: int | None = None, num_classes: int | None = None
    ) -> nn.Module:
        """As `make`, with weights drawn from the random numbers of this process."""
        arguments = self._arguments(width, in_channels, num_classes)
        try:
            with quiet():
                made = self.call(**arguments)
        except (Exception, SystemExit) as error:
            raise FactoryError(
                f"{self.name}({_spelled(arguments)}) must return a network, but raises {raised(error)}"
                f"{place(error, self.home)}"
            ) from error
        if not isinstance(made, nn.Module):
            raise FactoryError(
                f"{self.name} must return a torch.nn.Module, but returned {_a(made)}: return the network"
            )
        return made

    def _arguments(self, width: int, in_channels: int | None, num_classes: int | None) -> dict[str, Any]:
        asked = {"num_classes": num_classes, "in_channels": in_channels, "width": self._own_width(width)}
        return {
            key: _ASKED_ANYWAY[key] if asked[key] is None else asked[key]
            for key in _PASSED
            if key in self.takes and (asked[key] is not None or key in self.needs)
        }

    def _own_width(self, width: int) -> int | float | None:
        """The factory's own argument for a width in 64ths of its default; None leaves the default."""
        if width == WHOLE and self.width is not None:
            return None
        if "width" not in self.takes:
            if width != WHOLE:
                raise ArchitectureError(
                    f"{self.name} has no other width than its own, {WHOLE} 64ths, but got width={width}: "
                    "give the factory a `width` argument"
                )
            return None
        if self.width is None:
            return width
        if isinstance(self.width, float):
            return self.width * width / WHOLE
        own = Fraction(self.width * width, WHOLE)
        if own.denominator != 1:
            raise ArchitectureError(
                f"the width of {self.name} x width / {WHOLE} must be whole, but {self.width} x {width} / "
                f"{WHOLE} is {float(own):g}: choose another width, or a default that is a multiple of "
                f"{WHOLE // math.gcd(width, WHOLE)}"
            )
        return int(own)

    def table(self, name: str, *, width: int, stem: str, in_channels: int, num_classes: int) -> LayerTable:
        """The layer table of the factory's network, whose own classes and channels stay where it takes none.

        Raises:
            FactoryError: the factory fails.
            ConversionError: its network cannot be read.
            ArchitectureError: it has no network of this width or stem.
        """
        if stem != "imagenet":
            raise ArchitectureError(
                f"{name} has its own stem, which counts as imagenet, but got stem={stem!r}: leave it out"
            )
        module = self.make(width=width, in_channels=in_channels, num_classes=num_classes)
        return _read(self, module, width)[1]

    def network(self, *, width: int, in_channels: int, num_classes: int) -> nn.Module:
        """A fresh module, for images of `in_channels` channels and for `num_classes` classes.

        Raises:
            ArchitectureError: the factory takes no such argument, and its network has other ones.
        """
        table = layer_table(self.name, width=width, in_channels=in_channels, num_classes=num_classes)
        for key, asked, has in (
            ("num_classes", num_classes, table.num_classes),
            ("in_channels", in_channels, table.in_channels),
        ):
            if asked != has:
                takes = f"its `{key}` argument changes nothing" if key in self.takes else "it takes no other"
                remedy = f"give the factory a `{key}` argument" if key not in self.takes else f"use `{key}`"
                raise ArchitectureError(
                    f"{self.name} has {key}={has} and {takes}, but {key}={asked} is needed: {remedy}"
                )
        return self.fresh(width=width, in_channels=in_channels, num_classes=num_classes)


def _read(factory: _Factory, module: nn.Module, width: int = WHOLE) -> tuple[int, TracedTable]:
    """The side in px at which a network was read, and its table; the error of the first side, if none is."""
    usual = usual_input(module)
    own = getattr(factory.call, "input_size", None)
    if own is not None and not (isinstance(own, int) and not isinstance(own, bool) and own >= 1):
        raise FactoryError(f"`input_size` of {factory.name} must be a side in px, 1 or more, but is {own!r}")
    error: ConversionError | None = None
    for side in (own,) if own is not None else (usual[-1], *SMALLER_SIDES):
        shape = (*usual[:-2], side, side)
        try:
            return side, traced(module, name=factory.name, input_shape=shape, width=width)
        except ConversionError as caught:
            error = error or caught
    assert error is not None
    hint = f", as {factory.call.__name__}.input_size = SIDE below the function" if own is None else ""
    raise ConversionError(f"{error}{hint if GIVE_SIZE in str(error) else ''}") from None


def _spelled(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in arguments.items())


def _a(value: object) -> str:
    """What a value is, in words."""
    return "None" if value is None else f"a value of type {type(value).__name__}"
