"""What a training takes of a GPU's memory, and the line that says it will not do."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import octnas
from octnas import Architecture
from octnas.engine.gpu_memory import memory_note
from octnas.train.footprint import PROCESS_BYTES, kept_bytes, training_bytes


@pytest.mark.parametrize("alpha", [0, 0.5])
def test_what_is_kept_is_what_autograd_keeps_in_a_step_of_the_whole_batch(alpha: float) -> None:
    architecture, batch = Architecture.uniform("resnet18", alpha=alpha, width=16), 32
    network = octnas.build(architecture, num_classes=10).train()
    storages = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        functional.cross_entropy(network(torch.randn(batch, 3, 32, 32)), torch.zeros(batch, dtype=torch.long))
    own = {each.untyped_storage()._cdata for each in network.parameters()}
    real = sum(each.nbytes() for key, each in storages.items() if key not in own)
    kept, parameters = kept_bytes(architecture, input_shape=(3, 32, 32), num_classes=10, batch=batch)
    assert parameters == sum(4 * each.numel() for each in network.parameters())
    assert real <= kept <= 1.15 * real


def test_bf16_halves_the_maps_and_nothing_else() -> None:
    architecture = Architecture.uniform("resnet18", alpha=0.5, width=16)
    options = {"input_shape": (3, 32, 32), "num_classes": 10, "batch": 16}
    kept, parameters = kept_bytes(architecture, **options)
    fixed = 4 * parameters + PROCESS_BYTES
    assert training_bytes(architecture, **options, in_bf16=False) == fixed + kept
    assert training_bytes(architecture, **options, in_bf16=True) == fixed + kept // 2


def test_frames_count_as_images_of_a_2d_backbone() -> None:
    architecture = Architecture.uniform("resnet18", alpha=0, width=16)
    clip = kept_bytes(architecture, input_shape=(3, 4, 32, 32), num_classes=5, batch=8)
    still = kept_bytes(architecture, input_shape=(3, 32, 32), num_classes=5, batch=32)
    assert clip[0] == pytest.approx(still[0], rel=0.1)


GB = 10**9


@pytest.mark.parametrize(
    ("gpus", "share", "needs", "says"),
    [
        ({"a": (16 * GB,)}, 0.25, 3 * GB, None),
        (
            {"a": (16 * GB,)},
            0.25,
            5 * GB,
            "4 trials of it may not fit the 16 GB of a GPU of a: --gpus-per-trial 0.33",
        ),
        (
            {"a": (16 * GB,), "b": (80 * GB, 8 * GB)},
            0.5,
            5 * GB,
            "8 GB of a GPU of b: --gpus-per-trial 1 does",
        ),
        ({"a": (16 * GB,)}, 1, 20 * GB, "a trial may not fit the 16 GB of a GPU of a: a smaller batch"),
        ({"a": (16 * GB,)}, 2, 12 * GB, None),
        ({"a": ()}, 0.25, 50 * GB, None),
    ],
)
def test_the_warning_names_the_smallest_gpu_and_what_does(
    gpus: dict[str, tuple[int, ...]], share: float, needs: int, says: str | None
) -> None:
    note = memory_note(gpus, share, ("resnet50", needs))
    assert note is None if says is None else says in (note or "")
