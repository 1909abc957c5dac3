"""Weights on disk, as safetensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from octnas.errors import RunError
from octnas.storage import Place
from octnas.train.files import written_whole

__all__ = ["load_weights", "save_state", "save_weights", "write_weights"]


def write_weights(network: torch.nn.Module, path: Path) -> None:
    """Writes the state dict (torchvision's names, dense weights) of a network as safetensors.

    Raises:
        OSError, SafetensorError: the file cannot be written.
    """
    _write_state(network.state_dict(), path)


def _write_state(state: Mapping[str, Tensor], path: Path) -> None:
    # safetensors wants plain memory; channels-last weights are not contiguous and the layout is not needed.
    plain = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    save_file(plain, path, metadata={"format": "pt"})
    path.chmod(0o666 & ~_umask())  # safetensors lets nobody but the owner read it


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def save_weights(network: torch.nn.Module, path: Place) -> None:
    """`write_weights`, whole or not at all.

    Raises:
        RunError: the file cannot be written.
    """
    with written_whole(path) as part:
        write_weights(network, part)


def save_state(state: Mapping[str, Tensor], path: Place) -> None:
    """A state dict as `save_weights` writes a network's.

    Raises:
        RunError: the file cannot be written.
    """
    with written_whole(path) as part:
        _write_state(state, part)


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Loads what `save_weights` wrote, strictly, into a network of the same backbone, width and classes.

    Raises:
        RunError: the file is missing, damaged, or of another network.
    """
    try:
        state = load_file(Path(path))
    except (OSError, SafetensorError) as error:
        raise RunError(f"weights must be a safetensors file, but {path} is not: {error}") from error
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RunError(f"weights must fit their network, but {path} does not: {reason[:300]}") from error
