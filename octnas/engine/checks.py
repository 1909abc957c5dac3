"""What is checked at the door of a search, before anything is trained."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octnas._version import __version__
from octnas.errors import RunError
from octnas.record import SearchHeader
from octnas.space import SearchSpace, load_space

if TYPE_CHECKING:
    from octnas.data import ImageSet

__all__ = ["admitted_space", "check_numbers", "check_unchanged", "load_data", "name_taken", "versions"]


def admitted_space(
    space: str | os.PathLike[str] | SearchSpace,
    *,
    backbones: str | Sequence[str] | None = None,
    data: str | None = None,
) -> tuple[SearchSpace, str | None]:
    """The space that is searched, and the name or path by which it can be loaded again, if it has one.

    Raises:
        OctnasError: there is no such space or backbone, or the file does not follow the schema.
    """
    if isinstance(space, SearchSpace):
        loaded, source = space, None
    else:
        source = os.fspath(space)
        loaded = load_space(source)
        if Path(source).is_file():
            source = str(Path(source).absolute())
    chosen = (backbones,) if isinstance(backbones, str) else backbones
    if chosen is None and data is None:
        return loaded, source
    return loaded.restricted(backbones=chosen, data=data), source


def load_data(space: SearchSpace) -> ImageSet:
    """The images of a space's proxy, at its input size."""
    from octnas.data import load_images

    return load_images(space.proxy.data, size=space.proxy.input_size)


def check_numbers(*, trials: int, max_minutes: float | None, seed: int) -> None:
    if trials < 1:
        raise RunError(f"`trials >= 1` must hold, but got {trials}")
    if max_minutes is not None and not 0 < max_minutes < float("inf"):
        raise RunError(f"`max_minutes > 0` must hold, but got {max_minutes}")
    if seed < 0:
        raise RunError(f"`seed >= 0` must hold, but got {seed}")


def check_unchanged(header: SearchHeader, recorded: SearchSpace) -> None:
    """The journal's copy is what is searched; a file that says something else now is refused."""
    source = header.options.get("space_source")
    if source is None:
        return
    try:
        override = header.options.get("data_override")
        now, _ = admitted_space(
            str(source), backbones=recorded.backbones, data=None if override is None else str(override)
        )
    except (OSError, ValueError):
        return  # moved or removed since, or never a file: the journal's copy is whole
    if now != recorded:
        raise RunError(
            f"space {header.space!r} has changed since {header.name!r} began ({_difference(recorded, now)}): "
            "restore it, or search under another name"
        )


def _difference(before: SearchSpace, now: SearchSpace) -> str:
    import yaml

    old, new = (_flat(yaml.safe_load(each.to_yaml())) for each in (before, now))
    key = next(key for key in sorted({*old, *new}) if old.get(key) != new.get(key))
    return f"`{key}` was {old.get(key)}, is {new.get(key)}"


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix.rstrip("."): value}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{prefix}{name}.")
    return flat


def versions() -> dict[str, str]:
    packages = ("torch", "ray", "optuna", "mlflow")
    return {
        "python": platform.python_version(),
        "octnas": __version__,
        **{package: metadata.version(package) for package in packages},
    }


def name_taken(name: str) -> RunError:
    return RunError(
        f"a run named {name!r} exists: `octnas resume {name}` goes on with it, "
        f"`octnas delete {name}` removes it, another --name leaves it"
    )
