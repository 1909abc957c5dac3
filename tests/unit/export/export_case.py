"""What the tests of exports share: a small network, images of noise, and where both went."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from octnas.data import ImageSet, MemorySplit
from octnas.export import ExportReport, Provenance, Timings, deploy
from octnas.export.graphs import WithInput, exported_program, quiet, write_onnx, write_pt2
from octnas.nn import OctaveNetwork

Network = TypeVar("Network", bound=nn.Module)

CLASSES = ("cat|dog", "大", "犬_*")
SIDE = 32


def lived_in(network: Network, seed: int = 0) -> Network:
    """The network with batch-norm parameters and statistics as after some training."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def distance(got: object, expected: object) -> float:
    """Of all that a network gives, relative to its norm."""
    ours, theirs = _flat(got), _flat(expected)
    return float(torch.linalg.norm(ours - theirs) / torch.linalg.norm(theirs))


def _flat(value: object) -> Tensor:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return torch.cat([part.flatten() for part in parts])


def check_files(net: OctaveNetwork, shape: tuple[int, ...], folder: Path) -> None:
    """ONNX and torch.export's file of a network give its logits, for batches of one and of more.

    Args:
        shape: of an input, (C, H, W) or (C, T, H, W).
    """
    channels = shape[0]
    mean, std = torch.linspace(0.4, 0.6, channels), torch.linspace(0.2, 0.3, channels)
    fast = deploy(net, input_size=(shape[-2], shape[-1]), frames=shape[1] if len(shape) == 4 else None)
    with quiet():
        program = exported_program(WithInput(fast, mean.tolist(), std.tolist()).eval(), shape)
        write_onnx(program, folder / "model.onnx")
        write_pt2(program, folder / "model.pt2")
    again = torch.export.load(folder / "model.pt2").module()
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    by_channel = (1, channels, *[1] * (len(shape) - 1))
    for batch in (1, 3):
        images = torch.rand(batch, *shape)
        with torch.inference_mode():
            want = net((images - mean.view(by_channel)) / std.view(by_channel))
            assert distance(again(images), want) <= 1e-4
        (logits,) = session.run(None, {"images": images.numpy()})
        assert logits.shape == want.shape
        assert logits.shape[0] == batch
        assert distance(torch.from_numpy(np.asarray(logits)), want) <= 1e-4


def noise_images(channels: int = 1, side: int = SIDE, val: int = 57) -> ImageSet:
    """Images of random blocks, whose mean and deviation are far from 0 and 1."""
    rng = np.random.default_rng(0)

    def split(count: int) -> MemorySplit:
        blocks = rng.integers(100, 220, (count, side // 8, side // 8, channels), dtype=np.uint8)
        pixels = blocks.repeat(8, axis=1).repeat(8, axis=2)
        labels = np.arange(count, dtype=np.int64) % len(CLASSES)
        return MemorySplit(images=pixels, labels=labels, size=side, channels=channels)

    return ImageSet(
        name="noise",
        classes=CLASSES,
        channels=channels,
        size=side,
        train=split(6),
        val=split(val),
        test=split(5),
        fingerprint="0123456789ab",
        licence="public domain",
        origin="drawn by seed 0",
        flip=False,
        mean=(0.62,) * channels,
        std=(0.14,) * channels,
    )


def some_provenance() -> Provenance:
    return Provenance(
        search="night-1",
        trial="17",
        space="small-2d",
        training="full",
        epochs=12,
        seed=5,
        accuracy=0.3125,
        test_accuracy=0.2871,
        target="resnet18, width 64, at 3 x 224 x 224 px, 1000 classes",
        target_digest="c0ffee000000",
        target_gflops=1.137,
        target_params=11_689_512,
        budget_gflops=1.5,
        budget_ms=9.5,
    )


def some_timing(ms: float, plain_ms: float) -> dict[str, Any]:
    """What `latency --json` prints, as far as a card reads it."""
    return {
        "device": "a processor, 2 cores",
        "runtime": "onnxruntime",
        "threads": 1,
        "batch": 1,
        "latency_ms": ms,
        "plain_latency_ms": plain_ms,
        "ratio": ms / plain_ms,
        "flops_ratio": 0.75,
        "ratio_quartiles": [ms / plain_ms - 0.01, ms / plain_ms + 0.01],
        "slower": ms > plain_ms,
        "precision": "float32",
        "versions": {"onnxruntime": "1.0", "octnas": "0.1"},
    }


def some_timings(onnx: Path) -> Timings:
    """In place of a measurement: the file is there, it is slower than its twin, the target is faster."""
    assert onnx.name == "model.onnx"
    assert onnx.stat().st_size > 1000
    return Timings(network=some_timing(0.5, 0.4), target=some_timing(9.0, 12.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    network: OctaveNetwork
    data: ImageSet
    report: ExportReport

    @property
    def dir(self) -> Path:
        return self.report.dir
