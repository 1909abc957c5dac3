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
from octnas.errors import DataError, RunError
from octnas.record import RunFolder, SearchHeader
from octnas.space import SearchSpace, load_space
from octnas.storage import is_uri, place

if TYPE_CHECKING:
    from octnas.data import ImageSet

__all__ = [
    "DEFAULT_SCORE",
    "admitted_space",
    "check_data",
    "check_numbers",
    "check_start",
    "check_unchanged",
    "data_source",
    "load_data",
    "refuse_supernet",
    "versions",
]

DEFAULT_SCORE = 1000
"""Architectures that a search with shared weights scores on them."""


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
    """The name of a data set, and a URI, as it is; of a folder or an archive the absolute path, which leads
    there from anywhere.

    Raises:
        RunError: a URI holds credentials, or its client is not installed.
    """
    if is_uri(data):
        found = place(data)
        return str(found) if isinstance(found, Path) else data
    folder = Path(data).expanduser()
    if not folder.exists():
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


def check_start(*, init: str, score: int | None, fine_tune: int | None, supernet: str | None) -> None:
    """Where trainings begin, and what goes with it.

    Raises:
        RunError: an option without the one that gives it a meaning, or a number out of range.
    """
    if init != "shared":
        for name, value in (("score", score), ("supernet", supernet)):
            if value is not None:
                raise RunError(f"`{name}` goes with init='shared' alone, but got init={init!r}")
    if fine_tune is not None and init == "scratch":
        raise RunError("`fine_tune` needs weights to begin from: give --init shared, torchvision or a FILE")
    if score is not None and score < 1:
        raise RunError(f"`score >= 1` (architectures) must hold, but got {score}")
    if fine_tune is not None and fine_tune < 1:
        raise RunError(f"`fine_tune >= 1` (epochs) must hold, but got {fine_tune}")


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


def check_data(header: SearchHeader, images: ImageSet) -> None:
    """The data of a run that goes on are those that it began with.

    Raises:
        DataError: they are others.
    """
    if images.fingerprint != header.data_fingerprint:
        raise DataError(
            f"data {header.data!r} must be what {header.name!r} began with, fingerprint "
            f"{header.data_fingerprint}, but is {images.fingerprint}: restore it or take another name"
        )


def refuse_supernet(run: RunFolder) -> None:
    """Shared weights by themselves have no trials.

    Raises:
        RunError: `run` is of `octnas supernet`.
    """
    if run.header.options.get("kind") == "supernet":
        raise RunError(
            f"{run.name!r} has shared weights and no trials: `octnas search --init shared --supernet "
            f"{run.name}` searches with them"
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
