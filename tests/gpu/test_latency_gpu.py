"""Latency on a GPU: each runtime runs, the network keeps its numbers, the table says what was computed."""

from __future__ import annotations

import pytest
import torch

from octnas.architecture import Architecture
from octnas.export import deploy
from octnas.timing import runtimes
from octnas.timing.latency import latency
from octnas.timing.runtimes import random_network

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU"),
]

SMALL = Architecture.uniform("resnet18", alpha="1/2", width=32, stem="small", downsample="pooled")


@pytest.mark.parametrize("runtime", ["eager", "compile"])
def test_a_runtime_of_pytorch_times_both_networks(runtime: str) -> None:
    measured = latency(
        SMALL, runtime=runtime, device="cuda", batch=8, input_shape=(3, 32, 32), num_classes=10, rounds=3
    )
    assert measured.rounds == 3
    assert min(*measured.octave.samples, *measured.plain.samples) > 0
    assert measured.device == torch.cuda.get_device_name(0)
    assert measured.precision == "bfloat16 weights"
    assert measured.versions["cuda"] == torch.version.cuda


def test_onnxruntime_times_both_networks() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime is built without CUDA")
    measured = latency(SMALL, device="cuda", batch=8, input_shape=(3, 32, 32), num_classes=10, rounds=3)
    assert measured.rounds == 3
    assert measured.precision == "float16 weights"


@pytest.mark.parametrize("compiled", [False, True])
def test_logits_keep_their_numbers_in_bfloat16(compiled: bool) -> None:
    network = random_network(SMALL, num_classes=10, in_channels=3)
    fast = deploy(network, input_size=(32, 32)).to("cuda", torch.bfloat16)
    fast = fast.to(memory_format=torch.channels_last)
    images = torch.rand(4, 3, 32, 32)
    there = images.to("cuda", torch.bfloat16).contiguous(memory_format=torch.channels_last)
    call = runtimes._compiled(fast, there, "cuda") if compiled else fast
    with torch.inference_mode():
        logits = call(there).float().cpu()
        expected = network(images)
    assert float((logits - expected).abs().max()) < 0.05 * float(expected.abs().max())
