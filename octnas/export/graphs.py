"""Graphs of a deployed network: the exported program, the file of torch.export and the ONNX file.

Convention of an exported graph: images (B, C, H, W) or clips (B, C, T, H, W) scaled to 0..1 go in, logits
(B, classes) come out, and B is free. `WithInput` makes the normalisation by mean and deviation a part of it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

__all__ = ["OPSET", "WithInput", "exported_program", "quiet", "write_onnx", "write_pt2"]

OPSET = 20
_NOISY = (
    "torch.onnx",
    "torch.export",
    "torch._dynamo",
    "torch.fx",
    "torch.utils",
    "onnxscript",
    "onnx_ir",
    "onnx",
)


class WithInput(nn.Module):
    """A network behind the exported convention: images or clips in 0..1, normalised inside.

    Args:
        mean: of the data by channel, in 0..1; None: the pixels are not normalised.
        std: the deviation, likewise.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        super().__init__()
        self.network = network
        self.normalises = mean is not None and std is not None
        if mean is not None and std is not None:
            self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
            self.register_buffer("factor", 1 / torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, C, H, W) or clips (B, C, T, H, W)."""
        if self.normalises:
            mean, factor = self.mean, self.factor
            if images.dim() == 5:
                mean, factor = mean.unsqueeze(-1), factor.unsqueeze(-1)
            images = (images - mean) * factor
        logits: Tensor = self.network(images)
        return logits


def exported_program(module: nn.Module, shape: Sequence[int]) -> ExportedProgram:
    """The graph of a module in evaluation mode that takes (B, *shape), with B free."""
    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float32)
    # a batch of 2: the exporter takes a size of 1 for a constant
    example = torch.zeros(2, *shape, dtype=dtype)
    program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, and a quarter of the file
    return program


def write_pt2(program: ExportedProgram, path: Path) -> None:
    """Write the file for `torch.export.load`."""
    # through memory: on a full disk the writer of torch does not raise, it ends the process
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    path.write_bytes(buffer.getbuffer())


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """Write one ONNX file, weights inside, with the input "images" and the output "logits"."""
    torch.onnx.export(
        program,
        (),
        path,
        dynamo=True,
        external_data=False,
        input_names=["images"],
        output_names=["logits"],
        opset_version=OPSET,
        verbose=False,
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress lines or warnings of the exporters, which are about their own insides."""
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    try:
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
