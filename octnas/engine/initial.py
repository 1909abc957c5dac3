"""`--init`: which weights trainings begin from; checked at the door, then kept beside the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from octnas.architecture import Architecture
from octnas.backbones import is_users
from octnas.backbones.video import NON_LOCAL
from octnas.errors import RunError, unknown_name
from octnas.record import RunFolder
from octnas.space import SearchSpace
from octnas.storage import Place

if TYPE_CHECKING:
    from torch import Tensor

    from octnas.data import ImageSet

__all__ = [
    "Initial",
    "check_init",
    "chosen_weights",
    "fitted_weights",
    "init_words",
    "job_weights",
    "keep_initial",
    "kept_weights",
]

KINDS = ("scratch", "shared", "torchvision")
PUBLISHED_FORM = (64, "imagenet")
"""Width and stem of the networks whose weights torchvision publishes."""
SUFFIXES = (".safetensors", ".pth", ".pt")
"""Of weights in a folder, in the order in which they are looked for."""

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Initial:
    """Where trainings begin."""

    init: str
    """"scratch", "shared", "torchvision", or the absolute path of a file or folder."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """By backbone, where the weights are given."""
    notes: tuple[str, ...] = ()
    """What is not taken from them as it is, a line each."""


def check_init(init: str, space: SearchSpace, images: ImageSet, *, note: Note | None = None) -> Initial:
    """What `--init` asks for, found and fitted to the proxy of every backbone of a space.

    Args:
        init: "scratch", "shared", "torchvision" (downloads what is not there), a file, which is of one
            backbone, or a folder with BACKBONE.safetensors (or .pth, .pt) for each; a C2D or I3D network may
            have its 2D one's.
        note: told what is downloaded, before it is.

    Raises:
        RunError: there are no such weights, they cannot be downloaded, or they do not fit.
    """
    if init in ("scratch", "shared"):
        return Initial(init=init)
    if len(space.backbones) > 1 and Path(init).expanduser().is_file():
        raise RunError(
            f"a file has the weights of one backbone, but {init} is given for {', '.join(space.backbones)}: "
            "choose one with --backbone, or give a folder that has BACKBONE.safetensors for each"
        )
    proxy = space.proxy
    users = next(filter(is_users, space.backbones), None)
    if init == "torchvision" and users is not None:
        raise _unpublished(users)
    if init == "torchvision" and (proxy.width, proxy.stem) != PUBLISHED_FORM:
        raise RunError(
            f"torchvision's weights are of width 64 and stem imagenet, but the proxy of {space.name} has "
            f"width {proxy.width} and stem {proxy.stem}: search --space pretrained-2d, or a space of your own"
        )
    files = {backbone: _file(init, backbone, note) for backbone in space.backbones}
    notes: list[str] = []
    for backbone, path in files.items():
        plain = space.proxy_architecture(space.uniform(backbone, 0))
        notes += fitted_weights(path, plain, images)[1]
    given = init if init in KINDS else str(Path(init).expanduser().absolute())
    return Initial(init=given, files=files, notes=tuple(notes))


def keep_initial(run: RunFolder, initial: Initial) -> None:
    """Copies the given weights into the run's folder, whole, so that `octnas resume` needs nothing else.

    Raises:
        RunError: a file cannot be read any more, or the folder cannot be written.
    """
    from octnas.train.pretrained import read_state
    from octnas.train.weights import save_state

    for backbone, path in initial.files.items():
        save_state(read_state(path), kept_weights(run, backbone))


def kept_weights(run: RunFolder, backbone: str) -> Path:
    """Where `keep_initial` keeps the weights of a backbone."""
    return run.path / "init" / f"{backbone}.safetensors"


def job_weights(run: RunFolder, backbone: str) -> Place | None:
    """The weights that a trial of this run begins from; None: drawn by its seed."""
    init = run.header.options.get("init", "scratch")
    if init == "shared":
        warm = run.header.options.get("fine_tune") is not None
        return run.supernet(backbone) if warm else None
    return None if init == "scratch" else kept_weights(run, backbone)


def chosen_weights(
    init: str | None, run: RunFolder, backbone: str, note: Note | None = None
) -> tuple[str, Place | None]:
    """What the training of a winner begins from, in words as `check_init` takes them, and the file with it.

    Args:
        init: as for `check_init`; None: what the search was given, if it was given weights.

    Raises:
        RunError: there are no such weights, or they cannot be downloaded.
    """
    if init is None:
        given = str(run.header.options.get("init", "scratch"))
        return ("scratch", None) if given in ("scratch", "shared") else (given, kept_weights(run, backbone))
    if init == "scratch":
        return init, None
    if init != "shared":
        found = _file(init, backbone, note)
        return init if init in KINDS else str(found), found
    path = run.supernet(backbone)
    if not path.is_file():
        raise RunError(
            f"--init shared needs shared weights of {backbone}, but {run.name!r} has none: search with "
            "`--init shared`, or begin from --init scratch, torchvision or a FILE"
        )
    return init, path


def init_words(init: str) -> str:
    """What a sentence calls the weights that a training began from."""
    return {
        "scratch": "scratch",
        "shared": "the search's shared weights",
        "torchvision": "torchvision's weights",
    }.get(init, init)


def fitted_weights(
    path: Place, architecture: Architecture, images: ImageSet
) -> tuple[dict[str, Tensor], list[str]]:
    """The weights in a file as a network for these images takes them; see `octnas.train.pretrained`.

    Raises:
        RunError: the file is damaged, or does not fit.
    """
    from octnas.train.pretrained import fitted_state, read_state

    return fitted_state(
        read_state(path),
        architecture,
        num_classes=len(images.classes),
        in_channels=images.channels,
        name=path.name,
    )


def _unpublished(backbone: str) -> RunError:
    return RunError(
        f"torchvision has no weights of {backbone}, a user's network: give a file of its own with --init, or "
        "leave --init out"
    )


def _file(init: str, backbone: str, note: Note | None) -> Path:
    if init == "torchvision":
        if is_users(backbone):
            raise _unpublished(backbone)
        from octnas.train.published import published_weights

        return published_weights(backbone, note=note)
    place = Path(init).expanduser()
    if place.is_file():
        return place.absolute()
    if not place.exists():
        raise RunError(f"{unknown_name('weights', init, KINDS)}, and any file or folder, but this is none")
    for name in (backbone, *([NON_LOCAL[backbone].of] if backbone in NON_LOCAL else [])):
        for suffix in SUFFIXES:
            if (place / f"{name}{suffix}").is_file():
                return (place / f"{name}{suffix}").absolute()
    raise RunError(
        f"a folder of weights must have {backbone}.safetensors (or .pth, .pt), but {place} has not: "
        "put it there, or leave the backbone out with --backbone"
    )
