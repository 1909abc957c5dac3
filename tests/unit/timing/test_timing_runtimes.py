"""Each runtime runs the deployed network; what this machine cannot run is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
import torch
from timing_case import TINY
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.errors import OctnasError, TimingError, UnknownNameError
from octnas.export import DeployedNetwork, deploy
from octnas.export.graphs import exported_program, quiet, write_onnx
from octnas.timing import runtimes
from octnas.timing.runtimes import (
    check_setting,
    file_runner,
    make_runner,
    module_runner,
    precision,
    random_network,
    torch_threads,
)

SHAPE = (3, 32, 32)


class Watched(nn.Module):
    """A network that keeps its last logits and images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.images: Tensor | None = None
        self.logits: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        self.images, self.logits = images, self.network(images)
        return self.logits


def test_eager_runs_the_network_channels_last_without_gradients() -> None:
    network = random_network(TINY, num_classes=10, in_channels=3)
    watched = Watched(deploy(network, input_size=SHAPE[1:]))
    module_runner(watched, runtime="eager", batch=2, input_shape=SHAPE)()
    assert watched.images is not None
    assert watched.logits is not None
    assert watched.images.shape == (2, *SHAPE)
    assert watched.images.is_contiguous(memory_format=torch.channels_last)
    assert watched.logits.is_inference()
    torch.testing.assert_close(watched.logits, network(watched.images), rtol=1e-4, atol=1e-4)


def test_onnxruntime_runs_the_graph_with_the_asked_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = random_network(TINY, num_classes=10, in_channels=3)
    with quiet():
        write_onnx(exported_program(deploy(network, input_size=(32, 32)), SHAPE), tmp_path / "model.onnx")
    made: list[tuple[int, list[str]]] = []
    runs: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, path: str, options: Any, providers: list[str]) -> None:
            made.append((options.intra_op_num_threads, providers))
            super().__init__(path, options, providers=providers)

        def run(self, outputs: Any, feed: dict[str, Any]) -> Any:
            done = super().run(outputs, feed)
            runs.append((feed["images"], done[0]))
            return done

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    run = file_runner(tmp_path / "model.onnx", threads=1, batch=3, input_shape=SHAPE)
    assert runs == []
    run()
    assert made == [(1, ["CPUExecutionProvider"])]
    (images, logits) = runs[0]
    assert images.shape == (3, *SHAPE)
    with torch.inference_mode():
        want = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(logits, want, rtol=1e-4, atol=1e-4)


def test_make_runner_takes_architectures_and_networks() -> None:
    network = random_network(TINY, num_classes=10, in_channels=3)
    seen: list[tuple[str, torch.Size]] = []
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, _, out: (
            seen.append((type(module).__name__, out.shape)) if isinstance(module, DeployedNetwork) else None
        )
    )
    try:
        for net in (TINY, network, deploy(network)):
            make_runner(net, runtime="eager", input_shape=SHAPE, num_classes=10, batch=3)()
    finally:
        hook.remove()
    assert seen == [("DeployedNetwork", (3, 10))] * 3
    run = make_runner(TINY, runtime="onnxruntime", batch=2, input_shape=SHAPE, num_classes=10)
    (logits,) = cast(list[Any], run())
    assert logits.shape == (2, 10)


@pytest.mark.slow
def test_compile_freezes_each_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("inductor")
    real = torch.compile

    def counted(module: nn.Module, **options: Any) -> Callable[..., Tensor]:
        return real(module, backend=counter, **{k: v for k, v in options.items() if k != "options"})

    monkeypatch.setattr(torch, "compile", counted)
    architectures = [TINY, Architecture.uniform("resnet18", alpha=0, width=8, stem="small")]
    made = [make_runner(each, runtime="compile", input_shape=SHAPE, num_classes=10) for each in architectures]
    assert counter.frame_count == 2
    for _ in range(3):
        for run in made:
            run()
    assert counter.frame_count == 2  # neither is compiled again when they take turns


def test_more_networks_are_compiled_than_the_compiler_allows_one_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch._dynamo.config as dynamo

    real = torch.compile
    compiled: list[nn.Module] = []

    def traced(module: nn.Module, **options: Any) -> Callable[..., Tensor]:
        compiled.append(module)
        return real(module, backend="eager", **{k: v for k, v in options.items() if k != "options"})

    monkeypatch.setattr(torch, "compile", traced)
    with dynamo.patch(recompile_limit=1):
        for alpha in (0, "1/4", "1/2"):
            arch = Architecture.uniform("resnet18", alpha=alpha, width=8, stem="small")
            make_runner(arch, runtime="compile", input_shape=SHAPE, num_classes=10)()
    assert len(compiled) == 3  # and none was refused


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, second = (random_network(TINY, num_classes=10, in_channels=1) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with torch.inference_mode():
        images = torch.rand(1, 1, 32, 32)
        small = []
        for module in first.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_hook(
                    lambda _, __, out: small.extend(
                        float((branch.abs() < 1e-30).float().mean()) for branch in out if branch is not None
                    )
                )
        first(images)
    assert len(small) > 20
    assert max(small) == 0  # no number fades away


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def fails() -> None:
        with torch_threads(before + 1):
            seen.append(torch.get_num_threads())
            raise RuntimeError("within")

    with pytest.raises(RuntimeError, match="within"):
        fails()
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runtime": "onnxrutime"}, "unknown runtime 'onnxrutime': did you mean 'onnxruntime'"),
        ({"device": "cdua"}, "unknown device 'cdua': did you mean 'cuda'"),
        ({"threads": 0}, "`threads` must be 1 to 2, .* got 0"),
        ({"threads": 3}, "`threads` must be 1 to 2, .* got 3"),
        ({"batch": 0}, "`batch` must be 1 image or more, but got 0"),
    ],
)
def test_what_cannot_be_timed_is_refused(
    change: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "usable_cores", lambda: 2)
    setting: dict[str, Any] = {"runtime": "eager", "device": "cpu", "threads": 1, "batch": 1, **change}
    with pytest.raises((TimingError, UnknownNameError), match=message) as caught:
        check_setting(**setting)
    assert isinstance(caught.value, OctnasError)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_gpu_is_asked_for_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TimingError, match=r"'cuda' needs an NVIDIA GPU .* use device 'cpu'"):
        check_setting("eager", "cuda", 1, 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    check_setting("eager", "cuda", 1, 1)
    with pytest.raises(TimingError, match=r"CUDAExecutionProvider, but .* `pip install onnxruntime-gpu`"):
        check_setting("onnxruntime", "cuda", 1, 1)


def test_a_compiler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Callable[..., Tensor]:
        def call(images: Tensor) -> Tensor:
            raise RuntimeError("no g++ found\nlong trace")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(TimingError, match=r"failed with: no g\+\+ found; it needs a C\+\+ compiler"):
        make_runner(TINY, runtime="compile", input_shape=SHAPE, num_classes=10)


def test_precision_says_what_is_computed() -> None:
    assert {precision(runtime, "cpu") for runtime in ("onnxruntime", "eager", "compile")} == {"float32"}
    assert precision("compile", "cuda") == "bfloat16 weights"
    assert precision("onnxruntime", "cuda") == "float16 weights"
