"""Runtimes that a network can be timed in: each turns a deployed network into a function that runs it once.

| runtime | what runs | precision on a GPU |
|---|---|---|
| onnxruntime | the graph that `octnas export` writes | float16 weights and images |
| eager | the deployed module, channels last | bfloat16 weights and images |
| compile | the same through `torch.compile`, weights frozen; on a GPU with CUDA graphs | bfloat16 likewise |

On the processor all three run float32. A runner returns when its work is done: on a GPU it synchronises.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from octnas.architecture import Architecture
from octnas.costs.ops import Times
from octnas.errors import TimingError, unknown_name
from octnas.export.convs import channels_last
from octnas.export.deploy import DeployedNetwork, deploy
from octnas.export.graphs import exported_program, quiet, write_onnx
from octnas.machine import device_name, usable_cores
from octnas.nn import OctaveNetwork, build
from octnas.timing.measure import Runner

__all__ = [
    "DEVICES",
    "RUNTIMES",
    "Device",
    "Runtime",
    "Shape",
    "as_device",
    "as_runtime",
    "check_setting",
    "deployed_for",
    "file_runner",
    "make_runner",
    "module_runner",
    "precision",
    "random_network",
    "torch_threads",
]

Runtime = Literal["onnxruntime", "eager", "compile"]
Device = Literal["cpu", "cuda"]
Shape = tuple[int, ...]
"""Channels, height and width in px; or channels, frames, height and width."""

DEVICES: tuple[Device, ...] = get_args(Device)
MAX_COMPILED = 1000
"""Networks that a process may compile."""
SEED = 0
"""Of the weights and images of what is timed without a training."""


def check_setting(runtime: str, device: str, threads: int, batch: int) -> None:
    """Raises an error that says what is wrong where this machine cannot time such a setting.

    Raises:
        UnknownNameError: an unknown runtime or device.
        TimingError: no GPU, no provider for it, threads or a batch that do not fit.
    """
    as_runtime(runtime)
    as_device(device)
    cores = usable_cores()
    if not 1 <= threads <= cores:
        raise TimingError(
            f"`threads` must be 1 to {cores}, the cores that this process may use, but got {threads}"
        )
    if batch < 1:
        raise TimingError(f"`batch` must be 1 image or more, but got {batch}")
    if device == "cuda":
        device_name("cuda")
        if runtime == "onnxruntime":
            _check_cuda_provider()


def as_runtime(name: str) -> Runtime:
    """The runtime of that name; an unknown one is a `UnknownNameError`."""
    if name not in RUNTIMES:
        raise unknown_name("runtime", name, RUNTIMES)
    return cast(Runtime, name)


def as_device(name: str) -> Device:
    """The device of that name; an unknown one is a `UnknownNameError`."""
    if name not in DEVICES:
        raise unknown_name("device", name, DEVICES)
    return name


def precision(runtime: Runtime, device: Device) -> str:
    """The number format that a runtime computes in, in words."""
    if device == "cpu":
        return "float32"
    return "float16 weights" if runtime == "onnxruntime" else "bfloat16 weights"


def make_runner(
    net: OctaveNetwork | DeployedNetwork | Architecture,
    *,
    runtime: Runtime,
    device: Device = "cpu",
    threads: int = 1,
    batch: int = 1,
    input_shape: Shape,
    num_classes: int = 1000,
    times: Times | None = None,
) -> Runner:
    """A function that runs the deployed network once on images of noise.

    Building it takes seconds (export) to minutes (compile). Where the runtime is PyTorch, `threads` must be
    PyTorch's own setting when it is built and when it runs: see `torch_threads`.

    Args:
        net: an architecture is built with random weights; a network is deployed for `input_shape`; a deployed
            one is copied.
        batch: images or clips.
        times: by which the forms of the layers are chosen; see `deploy`.

    Raises:
        UnknownNameError, TimingError: see `check_setting`; also where `torch.compile` finds no compiler.
    """
    check_setting(runtime, device, threads, batch)
    if isinstance(net, Architecture):
        net = random_network(net, num_classes=num_classes, in_channels=input_shape[0])
    if isinstance(net, DeployedNetwork):
        deployed = copy.deepcopy(net)  # layout and number format change
    else:
        deployed = deployed_for(net, input_shape, times=times)
    return RUNTIMES[runtime](deployed, device, threads, batch, input_shape)


def deployed_for(net: OctaveNetwork, input_shape: Shape, *, times: Times | None = None) -> DeployedNetwork:
    """The network deployed for images or clips of this shape."""
    frames = input_shape[1] if len(input_shape) == 4 else None
    return deploy(net, input_size=(input_shape[-2], input_shape[-1]), frames=frames, times=times)


def random_network(arch: Architecture, *, num_classes: int, in_channels: int) -> OctaveNetwork:
    """The network with weights and batch-norm statistics as after some training, the same every time.

    Statistics that fit no map would let numbers fade to denormals, which some processors compute slowly.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        net = build(arch, num_classes=num_classes, in_channels=in_channels)
        for module in net.modules():
            if isinstance(module, _BatchNorm) and module.affine and module.track_running_stats:
                module.weight.uniform_(0.5, 1.0)
                module.bias.normal_(std=0.1)
                module.get_buffer("running_mean").normal_(std=0.1)
                module.get_buffer("running_var").uniform_(0.5, 1.5)
    return net.eval()


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """PyTorch computes with so many threads inside, and with what it had afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def file_runner(
    path: Path, *, device: Device = "cpu", threads: int = 1, batch: int = 1, input_shape: Shape
) -> Runner:
    """A function that runs an ONNX file with the inputs "images" (B, *input_shape) once."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads of a session that is not running would spin for a while and disturb its neighbour.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if device == "cuda":
        session = onnxruntime.InferenceSession(str(path), options, providers=["CUDAExecutionProvider"])
        return _bound(session, _noise(batch, input_shape).to("cuda", torch.float16))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: _noise(batch, input_shape).numpy()}
    return lambda: session.run(None, feed)


def module_runner(
    module: nn.Module,
    *,
    runtime: Literal["eager", "compile"],
    device: Device = "cpu",
    batch: int = 1,
    input_shape: Shape,
) -> Runner:
    """A function that runs a module in evaluation mode on (B, *input_shape) once, channels last."""
    images = _noise(batch, input_shape)
    if device == "cuda":
        module, images = module.to("cuda", torch.bfloat16), images.to("cuda", torch.bfloat16)
    kernel = next(each for each in module.parameters() if each.dim() > 3)
    module = module.to(memory_format=channels_last(kernel))
    images = images.contiguous(memory_format=channels_last(images))
    call = _compiled(module, images, device) if runtime == "compile" else module

    def run() -> None:
        with torch.inference_mode():
            call(images)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def _onnxruntime(net: nn.Module, device: Device, threads: int, batch: int, shape: Shape) -> Runner:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        with quiet():
            write_onnx(exported_program(net.half() if device == "cuda" else net, shape), path)
        return file_runner(path, device=device, threads=threads, batch=batch, input_shape=shape)


def _eager(net: nn.Module, device: Device, threads: int, batch: int, shape: Shape) -> Runner:
    return module_runner(net, runtime="eager", device=device, batch=batch, input_shape=shape)


def _compile(net: nn.Module, device: Device, threads: int, batch: int, shape: Shape) -> Runner:
    return module_runner(net, runtime="compile", device=device, batch=batch, input_shape=shape)


RUNTIMES: dict[str, Callable[[nn.Module, Device, int, int, Shape], Runner]] = {
    "onnxruntime": _onnxruntime,
    "eager": _eager,
    "compile": _compile,
}


def _compiled(module: nn.Module, images: Tensor, device: Device) -> Callable[[Tensor], Tensor]:
    """The module through the compiler, which runs here: shapes are fixed, weights are constants."""
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    options: dict[str, Any] = {"triton.cudagraphs": True} if device == "cuda" else {}
    call: Callable[[Tensor], Tensor] = torch.compile(module, fullgraph=True, dynamic=False, options=options)
    # Whether weights are constants is decided while tracing, where the options do not reach.
    # All networks share one `forward`, which the compiler else gives up on after the eighth.
    many = dynamo.patch(recompile_limit=MAX_COMPILED, accumulated_recompile_limit=MAX_COMPILED)
    with many, inductor.patch(freezing=True), torch.inference_mode(), quiet():
        try:
            for _ in range(3):  # on a GPU the second and third calls record the graph
                call(images)
        except Exception as error:  # the compiler raises what its parts raise, none of them ours
            first = str(error).strip().split("\n")[0]
            raise TimingError(
                f"torch.compile must compile the network, but failed with: {first}; it needs a C++ compiler "
                "(and Triton on a GPU), or use runtime 'onnxruntime' or 'eager'"
            ) from error
    return call


def _bound(session: Any, images: Tensor) -> Runner:
    """A run whose images lie on the GPU already and whose logits stay there."""
    import numpy as np

    binding = session.io_binding()
    binding.bind_input(
        session.get_inputs()[0].name, "cuda", 0, np.float16, tuple(images.shape), images.data_ptr()
    )
    binding.bind_output(session.get_outputs()[0].name, "cuda")

    def run(kept: Tensor = images) -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run


def _check_cuda_provider() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise TimingError(
            f"runtime 'onnxruntime' on device 'cuda' needs the CUDAExecutionProvider, but onnxruntime "
            f"{onnxruntime.__version__} has {', '.join(onnxruntime.get_available_providers())}: "
            "`pip install onnxruntime-gpu`, or use runtime 'compile'"
        )


def _noise(batch: int, shape: Shape) -> Tensor:
    return torch.rand(batch, *shape, generator=torch.Generator().manual_seed(SEED))
