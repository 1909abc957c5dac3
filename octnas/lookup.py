"""What ARCH means on the command line: a backbone, a file with an architecture's JSON, or NAME:ID."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from octnas import backbones
from octnas.architecture import Alpha, Architecture, Downsample
from octnas.errors import ArchitectureError, RunError, unknown_name
from octnas.record import RunFolder, run_path
from octnas.space import parse_space

__all__ = ["Found", "find_architecture"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An architecture and the input, (C, H, W) or (C, T, H, W), and classes that it is meant for (None: the
    backbone's usual ones)."""

    architecture: Architecture
    input_shape: tuple[int, ...] | None = None
    num_classes: int = 1000


def find_architecture(
    text: str,
    *,
    alpha: Alpha | None = None,
    downsample: Downsample | None = None,
    input_size: int | None = None,
) -> Found:
    """The architecture that `text` names.

    Args:
        text: a backbone's name, package.module:factory of a user's network, the path of an architecture's
            JSON file, or NAME:ID of a search's trial, which is meant where there is a search NAME.
        alpha: one alpha for the whole backbone (default 0); only with a backbone's name.
        downsample: what plain layers with stride 2 do (default "strided"); only with a backbone's name.
        input_size: side in px of the input that decides which stages are too small to split.
    """
    if text in backbones.names() or _is_network(text):
        architecture = Architecture.uniform(
            text,
            alpha=0 if alpha is None else alpha,
            downsample=downsample or "strided",
            input_size=input_size,
        )
        if not backbones.is_users(text):
            return Found(architecture=architecture)
        shape = backbones.default_input(text)
        classes = backbones.family_of(text).classes
        return Found(architecture=architecture, input_shape=shape, num_classes=classes)
    if not (Path(text).is_file() or ":" in text):
        known = [*backbones.names(), "FILE.json", "NAME:ID", "package.module:factory"]
        raise unknown_name("architecture", text, known)
    if alpha is not None or downsample is not None:
        raise ArchitectureError(
            f"--alpha and --downsample go with a backbone, but {text!r} is an architecture: leave them out"
        )
    if Path(text).is_file():
        return Found(architecture=_read(Path(text)))
    name, _, trial_id = text.rpartition(":")
    run = RunFolder.open(name)
    target = parse_space(run.header.space_yaml).target
    architecture = run.record(trial_id).architecture
    return Found(
        architecture=architecture,
        input_shape=target.input_shape,
        num_classes=architecture.table(in_channels=target.channels, num_classes=target.classes).num_classes,
    )


def _is_network(text: str) -> bool:
    """Whether ARCH is a user's network, and neither a file nor a trial."""
    if not backbones.is_users(text) or Path(text).is_file():
        return False
    name, _, last = text.rpartition(":")
    try:
        if run_path(name).is_dir():
            return False
    except RunError:
        return True
    return not last.isdecimal()  # else a trial of a search that is not there


def _read(path: Path) -> Architecture:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ArchitectureError(f"{path} cannot be read as an architecture's JSON: {reason}") from None
    return Architecture.from_json(text)
