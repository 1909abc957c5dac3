"""Weights that torchvision publishes: found where torch.hub keeps them, or downloaded to there.

torchvision is imported only where they are asked for: it takes seconds.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path

from octnas.backbones.video import NON_LOCAL
from octnas.errors import RunError

__all__ = ["PUBLISHED", "published_weights"]

PUBLISHED = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "densenet121",
    "mobilenet_v2",
    "r3d_18",
    "mc3_18",
    "r2plus1d_18",
)
"""Backbones of which torchvision has weights: of ImageNet, or of Kinetics-400 for the 3D ones."""
PATIENCE_SECONDS = 20.0
"""How long a server may be silent."""


def published_weights(backbone: str, *, note: Callable[[str], None] | None = None) -> Path:
    """The file of torchvision's weights of a backbone, or of the 2D network that it is inflated from.

    Of several the one that torchvision calls its default is downloaded; another one that is there already is
    taken before anything is.

    Args:
        note: told what is downloaded, before it is.

    Raises:
        RunError: torchvision has none, or they are not there and cannot be downloaded; the message has the
            file's name, its address and the folder to put it in.
    """
    name = NON_LOCAL[backbone].of if backbone in NON_LOCAL else backbone
    if name not in PUBLISHED:
        of = f"for {backbone}" if name == backbone else f"of {name}, for {backbone}"
        raise RunError(
            f"torchvision has no weights {of}: leave it out with --backbone (there are some of "
            f"{', '.join(PUBLISHED)}), or give a file with --init FILE"
        )
    import torch
    from torchvision.models import get_model_weights

    weights = get_model_weights(name)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    addresses = [weights.DEFAULT.url, *(each.url for each in weights)]
    for address in addresses:
        if (folder / _file(address)).is_file():
            return folder / _file(address)
    address = addresses[0]
    path = folder / _file(address)
    if note is not None:
        note(f"downloading the weights of {name} from {address}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _patience():
            torch.hub.download_url_to_file(address, str(path), _hash(path.name), progress=False)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = " ".join(str(error).split())[:200].strip("<>")
        raise RunError(
            f"the weights of {name} could not be downloaded ({reason}): place {path.name}, the file of "
            f"{address}, in {folder}, or set TORCH_HOME to a folder that has it in hub/checkpoints"
        ) from None
    return path


def _file(address: str) -> str:
    return address.rpartition("/")[2]


def _hash(file: str) -> str | None:
    """The first digits of the content's SHA-256, which stand in the file's name."""
    found = re.search(r"-([0-9a-f]{8,})\.", file)
    return None if found is None else found[1]


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """torch.hub sets no time-out, and a firewall may swallow a connection without a word."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
