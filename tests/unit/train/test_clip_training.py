"""Training on clips: 3D networks, and 2D ones frame by frame.

Shapes: B clips, C channels, T frames, H and W px.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from octnas.architecture import Architecture
from octnas.data import ImageSet, MemoryClips
from octnas.nn import OctConv3d, build
from octnas.nn.packed import PackedForward
from octnas.train import ProxyTraining, TrainSettings, load_weights, mode_of, train_and_keep
from octnas.train.evaluate import evaluate_network, to_input
from octnas.train.form import fastest_form, frame_wise

FRAMES = 4


def moving_split(count: int, seed: int) -> MemoryClips:
    """Bright squares that move right (class 0) or left (class 1): what frames there are tells nothing."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    clips = rng.integers(0, 60, (count, FRAMES, 16, 16, 1), dtype=np.uint8)
    rows, starts = rng.integers(0, 12, (2, count))
    for clip, label, row, start in zip(clips, labels, rows, starts, strict=True):
        path = [int(start) // 4 + 3 * t for t in range(FRAMES)]
        for frame, column in zip(clip, path[::-1] if label else path, strict=True):
            frame[row : row + 4, column : column + 4] += np.uint8(160)
    return MemoryClips(clips=clips, labels=labels.astype(np.int64))


@pytest.fixture(scope="module")
def moving() -> ImageSet:
    return ImageSet(
        name="moving",
        classes=("right", "left"),
        channels=1,
        size=16,
        frames=FRAMES,
        train=moving_split(160, 0),
        val=moving_split(80, 1),
        test=moving_split(40, 2),
        fingerprint="1" * 12,
        licence="none",
        origin="test",
        flip=False,
        mean=(0.15,),
        std=(0.15,),
    )


def small(backbone: str, alpha: float = 0.5) -> Architecture:
    return Architecture.uniform(
        backbone, alpha=alpha, width=4, stem="small", input_size=32, downsample="pooled"
    )


def test_time_tells_a_3d_network_what_a_frame_wise_one_cannot_know(
    moving: ImageSet, settings: TrainSettings
) -> None:
    settings = dataclasses.replace(settings, epochs=5, augment=False)
    accuracies = {}
    for backbone in ("i3d_resnet10", "resnet10"):
        training = ProxyTraining(small(backbone), moving, settings, seed=0)
        while not training.finished:
            score = training.run_epoch(full_validation=True)
        accuracies[backbone] = score.accuracy
    assert accuracies["i3d_resnet10"] > 0.9
    # The set of frames of a clip has one distribution for both classes.
    assert accuracies["resnet10"] < 0.65


@pytest.mark.parametrize("backbone", ["i3d_resnet10", "resnet10"])
def test_an_interrupted_training_on_clips_goes_on_bit_for_bit(
    moving: ImageSet, settings: TrainSettings, backbone: str, tmp_path: Path
) -> None:
    settings = dataclasses.replace(settings, train_images=64, precision="bf16")
    whole, first, second = (ProxyTraining(small(backbone), moving, settings, seed=3) for _ in range(3))
    expected = [whole.run_epoch(), whole.run_epoch()]
    first.run_epoch()
    first.save(tmp_path / "a.pt")
    second.load(tmp_path / "a.pt")
    assert second.run_epoch().loss == expected[1].loss
    state = whole.network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in second.network.state_dict().items())


def test_weights_and_clips_are_channels_last_over_time(moving: ImageSet, settings: TrainSettings) -> None:
    training = ProxyTraining(small("i3d_resnet10"), moving, settings, seed=0)
    weight = training.network.get_parameter("layer1.0.conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    clips, _ = next(iter(moving.train.batches(5)))
    x = to_input(clips, mean=moving.mean, std=moving.std, mode=training.mode)
    assert (x.shape, x.dtype) == ((5, 1, FRAMES, 16, 16), torch.float32)
    assert x.is_contiguous(memory_format=torch.channels_last_3d)
    flat = ProxyTraining(small("resnet10"), moving, settings, seed=0)
    weight = flat.network.get_parameter("layer1.0.conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_frames_through_the_packed_form_give_the_networks_own_logits_and_gradients() -> None:
    torch.manual_seed(0)
    network = build(small("resnet10"), num_classes=3, in_channels=1)
    other = copy.deepcopy(network)
    clips = torch.randn(6, 1, FRAMES, 16, 16).contiguous(memory_format=torch.channels_last_3d)
    packed = frame_wise(PackedForward(other))
    expected, found = network(clips), packed(clips)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    for logits in (expected, found):
        functional.cross_entropy(logits, torch.arange(6) % 3).backward()
    gradients = dict(other.named_parameters())
    for name, parameter in network.named_parameters():
        gradient, same = parameter.grad, gradients[name].grad
        assert gradient is not None
        assert same is not None
        assert torch.allclose(same, gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max())), name
    with torch.inference_mode():  # by the running statistics that both have now
        expected, found = network.eval()(clips), (other.eval(), packed(clips))[1]
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_frames_are_folded_without_a_copy() -> None:
    seen = []

    def forward(frames: torch.Tensor) -> torch.Tensor:
        seen.append(frames)
        return frames.mean((1, 2, 3))[:, None]

    clips = torch.randn(3, 2, FRAMES, 6, 6).contiguous(memory_format=torch.channels_last_3d)
    logits = frame_wise(forward)(clips)
    (frames,) = seen
    assert frames.data_ptr() == clips.data_ptr()
    assert frames.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(frames[FRAMES + 1], clips[1, :, 1])
    assert torch.allclose(logits[:, 0], clips.mean((1, 2, 3, 4)), atol=1e-6)


def test_only_what_it_knows_is_packed(settings: TrainSettings) -> None:
    mode = mode_of(dataclasses.replace(settings, precision="bf16"))
    options = {"size": (16, 16), "clips": True, "mode": mode, "compiled": False}
    flat, volumetric = (
        build(small(name), num_classes=2, in_channels=1) for name in ("resnet10", "c2d_resnet10")
    )
    assert fastest_form(volumetric, **options) is volumetric  # type: ignore[arg-type]
    assert fastest_form(flat, **options) is not flat  # type: ignore[arg-type]


@pytest.mark.parametrize("backbone", ["r3d_18", "resnet10"])
def test_what_is_kept_of_a_training_on_clips(
    moving: ImageSet, settings: TrainSettings, backbone: str, tmp_path: Path
) -> None:
    settings = dataclasses.replace(settings, epochs=1, train_images=32, batch_size=16)
    report = train_and_keep(small(backbone), moving, settings, scale="full", seed=0, folder=tmp_path)
    assert report.input_shape == (1, FRAMES, 16, 16)
    facts = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    assert (facts["frames"], facts["input_size"], facts["input_shape"]) == (FRAMES, 16, [1, FRAMES, 16, 16])
    assert facts["peak_memory_mb"] == report.peak_memory_mb > 50
    network = build(small(backbone), num_classes=2, in_channels=1)
    load_weights(network, report.checkpoint)
    mode = mode_of(settings)
    network = network.to(memory_format=mode.memory_format(network.dims))
    again, _ = evaluate_network(network, moving.val, mean=moving.mean, std=moving.std, mode=mode)
    assert again == report.accuracy


@pytest.mark.parametrize(("frames", "kernel"), [(4, 5), (3, 5), (2, 3), (1, 3)])
@pytest.mark.parametrize("alpha", [0, 0.5])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_in_bfloat16_where_a_clip_is_shorter_than_the_kernel(
    frames: int, kernel: int, alpha: float, stride: int
) -> None:
    torch.manual_seed(0)
    conv = OctConv3d(
        8, 8, (kernel, 3, 3), alpha_in=alpha, alpha_out=alpha, stride=(1, stride, stride),
        padding=(kernel // 2, 1, 1), bias=False,
    ).to(memory_format=torch.channels_last_3d)  # fmt: skip
    high, low = torch.randn(6, 8, frames, 12, 12).split([8 - conv.low_in, conv.low_in], 1)
    last = {"memory_format": torch.channels_last_3d}
    branches = high.contiguous(**last), low[..., ::2, ::2].contiguous(**last) if conv.low_in else None
    gradients = []
    for enabled in (False, True):
        conv.weight.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out = conv(branches)
        sum((branch.float() ** 2).mean() for branch in out if branch is not None).backward()
        gradients.append(conv.weight.grad.clone())
    exact, rounded = gradients
    assert float((rounded - exact).abs().max()) < 0.03 * float(exact.abs().max())


HELD = """
import mmap, torch
from octnas.train.memory import PeakMemory

memory = PeakMemory(torch.device("cpu"))
held = mmap.mmap(-1, 400 * 10**6)
held.write(b"1" * len(held))
held.close()
print(memory.megabytes(), PeakMemory(torch.device("cpu")).megabytes())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts anew")
def test_the_peak_is_what_was_held_since_and_not_before() -> None:
    # In a process of its own: what an allocator keeps of earlier tests would count as held.
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    peak, anew = map(float, done.stdout.split())
    assert peak > 400
    assert anew < peak - 300
