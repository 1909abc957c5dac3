"""Weights from elsewhere: a plain checkpoint read without running code, and fitted to an architecture.

A convolution's parameters do not depend on alpha, so a state dict of the plain network, torchvision's for
instance, fits every architecture of its backbone. What may differ is what the images decide: the classifier,
and the channels of the first convolution.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor

from octnas.architecture import Architecture
from octnas.backbones import Conv, Head, LayerTable, Plain, is_users
from octnas.errors import ArchitectureError, RunError
from octnas.nn import build, inflate
from octnas.storage import Place

__all__ = ["begins_anew", "digest_of", "fitted_state", "read_state"]

WRAPPERS = ("state_dict", "model_state_dict", "model", "network")
"""Keys under which a checkpoint of a training holds the state dict."""
PREFIXES = ("module.", "_orig_mod.")
"""What data parallelism and compilation put before every name."""
MOST_NAMED = 3
"""Keys of a kind that a message names."""

_OLD_DENSE = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""As torchvision's files still spell DenseNet's names: `norm.1.weight`, for its networks' `norm1.weight`."""


def read_state(source: Place | bytes, *, name: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a state dict saved by `torch.save`, on the processor.

    A state dict may lie in a checkpoint under one of `WRAPPERS`. No code of the file is run.

    Args:
        source: a file, or what is in it.
        name: what messages call it; the path, if not given.

    Raises:
        RunError: the file cannot be read, is neither, holds something else, or numbers that are not finite.
    """
    label = name or ("the given weights" if isinstance(source, bytes) else str(source))
    try:
        if not isinstance(source, Path | bytes):
            source = source.read_bytes()
        value = _safetensors(source) if _head(source)[8:9] == b"{" else _saved(source)
    except OSError as error:
        raise RunError(f"weights must be a file that can be read, but {label}: {error.strerror}") from None
    except UnpicklingError as error:
        raise _no_state_dict(label, error) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _neither(label) from error
    state = _unwrapped(value, label)
    for key, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise RunError(
                f"weights must be finite, but {key} of {label} is not: the training that made them diverged"
            )
    return state


def fitted_state(
    state: Mapping[str, Tensor], architecture: Architecture, *, num_classes: int, in_channels: int, name: str
) -> tuple[dict[str, Tensor], list[str]]:
    """A state dict as `build(architecture, num_classes, in_channels).load_state_dict` takes it, strictly.

    A classifier of other classes, or none, begins anew at 0. Three input channels become one by their sum,
    which gives for a gray image what the three give for three equal channels. Kernels of a 2D network are
    inflated for its 3D relative (`octnas.nn.inflate`).

    Args:
        state: as `read_state` gives it.
        name: what messages call it.

    Returns:
        The state dict, and what was changed, a line each.

    Raises:
        RunError: it does not fit; the message has the keys and their shapes.
    """
    table = architecture.table(in_channels=in_channels, num_classes=num_classes)
    # A user's factory may look at numbers of its weights.
    with torch.random.fork_rng(devices=[]), torch.device("cpu" if is_users(table.backbone) else "meta"):
        own = build(architecture, num_classes, in_channels).state_dict()
    found = {_OLD_DENSE.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    notes = []
    if in_channels == 1 and table.convs and _made_gray(found, own, f"{_first_conv(table)}.weight"):
        notes.append(f"{name}: the first convolution reads gray images, so its 3 input channels are summed")
    if (
        architecture.dims == 3
        and not is_users(table.backbone)
        and not any(tensor.ndim == 5 for tensor in found.values())
    ):
        found = _inflated(found, architecture, num_classes=num_classes, in_channels=in_channels, name=name)
        notes.append(f"{name}: its 2D kernels are inflated for {architecture.backbone}")
    head = _classifier(table)
    given = found.get(f"{head}.weight")
    if head is not None and (given is None or _other_classes(given, own[f"{head}.weight"])):
        what = "has no classifier" if given is None else f"classifies {len(given)} classes"
        notes.append(f"{name} {what}, the images have {num_classes}: the classifier begins anew, at 0")
        for key in (f"{head}.weight", f"{head}.bias"):
            if key in own:
                found[key] = torch.zeros(own[key].shape)
    for key, tensor in own.items():
        if key.endswith("num_batches_tracked"):  # which older files lack
            found.setdefault(key, torch.zeros(tensor.shape, dtype=tensor.dtype))
    _check_fits(found, own, architecture, num_classes=num_classes, in_channels=in_channels, name=name)
    return {key: found[key].to(tensor.dtype) for key, tensor in own.items()}, notes


def begins_anew(fitted: Mapping[str, Tensor], architecture: Architecture) -> bool:
    """Whether a fitted state dict has a classifier at 0, which can say nothing before it is trained."""
    head = _classifier(architecture.table())
    return head is not None and not bool(fitted[f"{head}.weight"].any())


def digest_of(state: Mapping[str, Tensor]) -> str:
    """A short name that is equal for equal weights: 12 hexadecimal digits of SHA-256."""
    total = hashlib.sha256()
    for key in sorted(state):
        total.update(key.encode())
        total.update(state[key].detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:12]


# ------------------------------------------------------------------------ reading
def _head(source: Path | bytes) -> bytes:
    """The first bytes: of a safetensors file a length in eight bytes, then JSON."""
    if isinstance(source, bytes):
        return source[:9]
    with source.open("rb") as file:
        return file.read(9)


def _safetensors(source: Path | bytes) -> dict[str, Tensor]:
    state = load(source) if isinstance(source, bytes) else load_file(source)
    # safetensors gives them in no order; inflation goes by the order of the layers.
    return {key: state[key] for key in sorted(state, key=_natural)}


def _natural(key: str) -> list[tuple[int, str]]:
    """`layer3.10` stands after `layer3.9`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", key)]


def _saved(source: Path | bytes) -> Any:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    return torch.load(file, map_location="cpu", weights_only=True)


def _unwrapped(value: Any, label: str) -> dict[str, Tensor]:
    """The state dict in what `torch.load` gave."""
    if isinstance(value, Mapping):
        for wrapper in WRAPPERS:
            if isinstance(value.get(wrapper), Mapping):
                value = value[wrapper]
                break
    if not isinstance(value, Mapping) or not value:
        raise RunError(
            f"weights must be a state dict, but {label} holds {_kind(value)}: save `network.state_dict()`"
        )
    for key, tensor in value.items():
        if not isinstance(tensor, Tensor):
            raise RunError(
                f"a state dict must hold tensors, but {key!r} of {label} is {_kind(tensor)}: "
                "save `network.state_dict()`"
            )
    state = {str(key): tensor.detach() for key, tensor in value.items()}
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in state)), ""):
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return "an empty one" if not value else "a mapping"
    return f"a value of type {type(value).__name__}"


def _no_state_dict(label: str, error: UnpicklingError) -> RunError:
    """The file is a pickle of objects, which `weights_only` does not open, or no pickle at all."""
    name = re.search(r"GLOBAL (\S+)", str(error))
    if name is None:
        return _neither(label)
    return RunError(
        f"weights must be a state dict, but {label} holds an object of {name[1]}, which is not opened "
        "because that would run code: save `network.state_dict()`, or safetensors"
    )


def _neither(label: str) -> RunError:
    return RunError(
        f"weights must be a safetensors file or a state dict saved by torch.save, but {label} is neither, "
        "or is damaged: get the file again"
    )


# ------------------------------------------------------------------------ fitting
def _classifier(table: LayerTable) -> str | None:
    """The path of the last fully connected layer; None where a user's network does not end in one."""
    last = table.nodes[-1]
    if isinstance(last, Head):
        return last.name
    calls: Mapping[str, Any] = getattr(table, "calls", {})
    is_linear = isinstance(last, Plain) and last.what == "Linear" and calls[last.name].kind == "module"
    return str(calls[last.name].target) if is_linear else None


def _first_conv(table: LayerTable) -> str:
    return next(node.name for node in table.nodes if isinstance(node, Conv))


def _made_gray(found: dict[str, Tensor], own: Mapping[str, Tensor], stem: str) -> bool:
    """Sums the input channels of the first convolution, where they are three and all else of it fits."""
    # In a relative's state dict it has another name, but the same place.
    theirs = stem if stem in found else next((key for key, kernel in found.items() if kernel.ndim >= 4), stem)
    kernel, wanted = found.get(theirs), own[stem].shape
    if kernel is None or kernel.ndim < 4 or kernel.shape[1] != 3:
        return False
    if (kernel.shape[0], kernel.shape[-2:]) != (wanted[0], wanted[-2:]):
        return False
    found[theirs] = kernel.sum(1, keepdim=True)
    return True


def _other_classes(given: Tensor, own: Tensor) -> bool:
    """Whether a classifier reads the same features and only has other classes."""
    return given.ndim == 2 and given.shape[0] != own.shape[0] and given.shape[1] == own.shape[1]


def _inflated(
    found: Mapping[str, Tensor], architecture: Architecture, *, num_classes: int, in_channels: int, name: str
) -> dict[str, Tensor]:
    """The 3D state dict of a 2D one; what cannot be inflated stays as it is."""
    with torch.random.fork_rng(devices=[]):
        network = build(architecture, num_classes, in_channels)
    own = network.state_dict()
    # A relative with other names is matched by the order of the file, one with the same names by these.
    ordered = {key: found[key] for key in own if key in found} if found.keys() <= own.keys() else found
    try:
        left = set(inflate(ordered, network))
    except ArchitectureError as error:
        raise RunError(f"{name} does not fit {architecture.backbone}: {error}") from None
    inflated = {key: tensor for key, tensor in network.state_dict().items() if key not in left}
    return {**inflated, **{key: found[key] for key in left if key in found}}


def _check_fits(
    found: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    architecture: Architecture,
    *,
    num_classes: int,
    in_channels: int,
    name: str,
) -> None:
    shared = [key for key in own if key in found]
    faults = [
        _listed(
            "of another shape",
            [
                f"{key} is {_shape(found[key])} where {_shape(own[key])} is needed"
                for key in shared
                if found[key].shape != own[key].shape
            ],
        ),
        _listed("missing", [key for key in own if key not in found]),
        _listed("unknown", [key for key in found if key not in own]),
    ]
    if not any(faults):
        return
    kind = f"width {architecture.width}, stem {architecture.stem}, input channels {in_channels}"
    raise RunError(
        f"weights must fit {architecture.backbone} ({kind}, classes {num_classes}), but of the keys of "
        f"{name} {'; '.join(fault for fault in faults if fault)}: take the backbone, and a space with the "
        "`proxy.width` and `proxy.stem`, that the weights were trained with"
    )


def _listed(what: str, items: Sequence[str]) -> str:
    """ "61 are missing (conv1.weight, bn1.weight, bn1.bias, ...)"; empty where there are none."""
    if not items:
        return ""
    more = ", ..." if len(items) > MOST_NAMED else ""
    verb = "is" if len(items) == 1 else "are"
    return f"{len(items)} {verb} {what} ({', '.join(items[:MOST_NAMED])}{more})"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
