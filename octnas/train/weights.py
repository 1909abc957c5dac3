"""Weights on disk, as safetensors."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from octnas.errors import RunError
from octnas.train.files import written_whole

__all__ = ["load_weights", "save_weights"]


def save_weights(network: torch.nn.Module, path: Path) -> None:
    """Writes the state dict (torchvision's names, dense weights) of a network as safetensors.

    Raises:
        RunError: the file cannot be written.
    """
    # safetensors wants plain memory; channels-last weights are not contiguous and the layout is not needed.
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with written_whole(Path(path)) as part:
        save_file(state, part)


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
