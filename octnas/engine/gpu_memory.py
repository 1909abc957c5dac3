"""Whether the trials that share a GPU fit into its memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from octnas.space import SearchSpace

if TYPE_CHECKING:
    from octnas.data import ImageSet

__all__ = ["largest_training", "memory_note"]


def largest_training(space: SearchSpace, images: ImageSet) -> tuple[str, int]:
    """The backbone whose plain proxy takes most GPU memory to train, and how many bytes, about."""
    from octnas.train import settings_from_proxy
    from octnas.train.footprint import training_bytes

    settings = settings_from_proxy(space.proxy, images)
    sizes = {
        backbone: training_bytes(
            space.proxy_architecture(space.uniform(backbone, 0)),
            input_shape=images.shape,
            num_classes=len(images.classes),
            batch=settings.batch_size,
            in_bf16=settings.precision != "fp32",
        )
        for backbone in space.backbones
    }
    backbone = max(sizes, key=sizes.__getitem__)
    return backbone, sizes[backbone]


def memory_note(gpus: Mapping[str, tuple[int, ...]], share: float, needs: tuple[str, int]) -> str | None:
    """The line that warns of trials that do not fit a GPU together; None where they do.

    Args:
        gpus: bytes of each GPU, by machine.
        share: of a GPU that a trial has; 1 or more: it has GPUs of its own.
        needs: what `largest_training` gives.
    """
    backbone, each = needs
    count = int(1 / share + 1e-9) if share < 1 else 1
    small = {name: min(sizes) for name, sizes in gpus.items() if sizes and min(sizes) < count * each}
    if not small:
        return None
    name = min(small, key=small.__getitem__)
    fits = small[name] // each
    remedy = f"--gpus-per-trial {1 / fits:.2g}" if fits else "a smaller batch or proxy in the space"
    together = f"{count} trials of it" if count > 1 else "a trial"
    return (
        f"{backbone} takes about {each / 1e9:.1f} GB of GPU memory to train, so {together} may not fit the "
        f"{small[name] / 1e9:.0f} GB of a GPU of {name}: {remedy} does"
    )
