"""What a machine of a cluster says of itself, and what keeps it from taking part.

Runs on every node; nothing here knows how it got there.
"""

from __future__ import annotations

import contextlib
import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from octnas._version import __version__
from octnas.errors import OctnasError

__all__ = ["NodeFacts", "NodeUnfitError", "difference", "facts", "reads"]

MISSING = "none"
"""In place of the version of a package that is not there."""


class NodeUnfitError(OctnasError):
    """A machine that cannot take part, for a reason that is not the job's that it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One machine."""

    host: str
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of what every node must have in the driver's version: Python (major and minor), torch, torchvision and
    octnas. A build's local part ("+cu130") is left out: CPU and GPU builds of one version go together."""
    gpu_bytes: tuple[int, ...] = ()
    """Memory of each GPU that this process sees."""


def facts() -> NodeFacts:
    """The facts of this machine."""
    versions = {"Python": ".".join(platform.python_version_tuple()[:2]), "octnas": __version__}
    for package in ("torch", "torchvision"):
        versions[package] = MISSING
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package).partition("+")[0]
    return NodeFacts(host=socket.gethostname(), versions=versions, gpu_bytes=_gpu_bytes())


def _gpu_bytes() -> tuple[int, ...]:
    with contextlib.suppress(ImportError):
        import torch

        if torch.cuda.is_available():
            devices = range(torch.cuda.device_count())
            return tuple(torch.cuda.get_device_properties(each).total_memory for each in devices)
    return ()


def difference(mine: NodeFacts, theirs: NodeFacts) -> str | None:
    """In what another machine differs from this one; None where it does not."""
    odd = [
        f"{name} {theirs.versions.get(name, MISSING)} (here {version})"
        for name, version in mine.versions.items()
        if theirs.versions.get(name, MISSING) != version
    ]
    return ", ".join(odd) or None


def reads(path: Path, content: bytes | None) -> bool:
    """Whether this machine finds a file with that content at a path, or, for None, any file."""
    try:
        return path.is_file() if content is None else path.read_bytes() == content
    except OSError:
        return False
