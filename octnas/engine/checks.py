"""What is checked at the door of a search, before anything is trained."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octnas._version import __version__
from octnas.engine.confirm import MAX_CONFIRM
from octnas.errors import RunError
from octnas.record import SearchHeader
from octnas.space import SearchSpace, load_space

if TYPE_CHECKING:
    from octnas.data import ImageSet

__all__ = [
    "admitted_space",
    "check_numbers",
    "check_unchanged",
    "data_source",
    "load_data",
    "versions",
]


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
    images = data_source(data or loaded.proxy.data)
    if chosen is not None or images != loaded.proxy.data:
        loaded = loaded.restricted(backbones=chosen, data=images)
    return loaded, source


def data_source(data: str) -> str:
    """The name of a data set as it is; of a folder the absolute path, which leads there from anywhere."""
    folder = Path(data).expanduser()
    if not folder.is_dir():
        return data
    from octnas.data import CLIP_SETS, IMAGE_SETS

    return data if data in (*IMAGE_SETS, *CLIP_SETS) else str(folder.absolute())


def load_data(space: SearchSpace) -> ImageSet:
    """The images or clips of a space's proxy, at its input size."""
    from octnas import data

    proxy = space.proxy
    return data.load_data(
        proxy.data,
        size=proxy.input_size,
        frames=proxy.frames,
        sampling=proxy.sampling,
        frame_stride=proxy.frame_stride,
    )


def check_numbers(*, trials: int, max_minutes: float | None, seed: int, confirm: int = 0) -> None:
    if trials < 1:
        raise RunError(f"`trials >= 1` must hold, but got {trials}")
    if max_minutes is not None and not 0 < max_minutes < float("inf"):
        raise RunError(f"`max_minutes > 0` must hold, but got {max_minutes}")
    if not 0 <= seed < 2**63:
        raise RunError(f"`0 <= seed < 2^63` must hold, but got {seed}")
    if not 0 <= confirm <= MAX_CONFIRM:
        raise RunError(f"`0 <= confirm <= {MAX_CONFIRM}` (seeds) must hold, but got {confirm}")


def check_unchanged(header: SearchHeader, recorded: SearchSpace) -> None:
    """The journal's copy is what is searched; a file that says something else now is refused."""
    source = header.options.get("space_source")
    if source is None:
        return
    try:
        # The images are held against their fingerprint instead: a path may lead there in more than one way.
        now, _ = admitted_space(str(source), backbones=recorded.backbones, data=recorded.proxy.data)
    except (OSError, ValueError):
        return  # moved or removed since, or never a file: the journal's copy is whole
    difference = _difference(recorded, now)
    if difference is not None:
        raise RunError(
            f"space {header.space!r} has changed since {header.name!r} began ({difference}): "
            "restore it, or search under another name"
        )


def _difference(before: SearchSpace, now: SearchSpace) -> str | None:
    """The first key that says something else now, leaving out those by which no search is steered."""
    import yaml

    old, new = (_flat(yaml.safe_load(each.to_yaml())) for each in (before, now))
    keys = sorted({*old, *new} - {"description", "proxy.noise_points"})
    key = next((key for key in keys if old.get(key) != new.get(key)), None)
    return None if key is None else f"`{key}` was {old.get(key)}, is {new.get(key)}"


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
