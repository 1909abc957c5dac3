"""The check after reload: what it measures and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from export_case import Exported
from torch import Tensor, nn

from octnas.errors import ExportError
from octnas.export import verify as verify_module
from octnas.export.verify import Verification, onnx_runner, verify


class Shifted(nn.Module):
    """The exported function, its logits changed by `change`."""

    def __init__(self, exported: Exported, change: Tensor | float = 0.0, flip: bool = False) -> None:
        super().__init__()
        self.run, self.change, self.flip = onnx_runner(exported.dir / "model.onnx"), change, flip

    def forward(self, images: Tensor) -> Tensor:
        logits = self.run(images)
        return (logits.flip(1) if self.flip else logits) + self.change


def batches(exported: Exported, labels: bool = True) -> Iterator[tuple[Tensor, Tensor | None]]:
    for images, classes in exported.data.val.batches(20):
        yield images.float() / 255, classes if labels else None


def check(exported: Exported, reference: nn.Module, **kwargs: bool) -> Verification:
    onnx, pt2 = exported.dir / "model.onnx", exported.dir / "model.pt2"
    return verify(onnx, pt2, reference, batches(exported, **kwargs))


def test_measures_the_largest_difference_and_counts_each_image_once(exported: Exported) -> None:
    shift = 5e-4
    report = check(exported, Shifted(exported, shift))
    assert report.images == 57
    assert report.max_abs_difference == pytest.approx(shift, rel=0.05)
    assert report.accuracy == report.accuracy_after_reload == pytest.approx(exported.report.accuracy)
    assert report.logit_scale > 0.5


def test_without_labels_there_is_no_accuracy(exported: Exported) -> None:
    report = check(exported, Shifted(exported), labels=False)
    assert report.accuracy is None
    assert report.accuracy_after_reload is None
    assert report.images == 57


@pytest.mark.parametrize("change", [0.05, -0.05, float("nan"), float("inf")])
def test_other_logits_are_refused(exported: Exported, change: float) -> None:
    with pytest.raises(ExportError, match=r"must be within 0\.001 of the network's"):
        check(exported, Shifted(exported, change))


def test_another_accuracy_is_refused(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "LOGIT_TOLERANCE", 100.0)
    onnx, pt2 = exported.dir / "model.onnx", exported.dir / "model.pt2"
    run = onnx_runner(onnx)
    predicted = [(images, run(images).argmax(1)) for images, _ in batches(exported)]
    with pytest.raises(ExportError, match=r"of 57 images the network gets \d+ right and the file 57"):
        verify(onnx, pt2, Shifted(exported, flip=True), predicted)


def test_a_file_with_one_batch_size_is_refused(exported: Exported, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 3)).eval()
    fixed = torch.export.export(model, (torch.zeros(20, 1, 32, 32),))
    torch.export.save(fixed, tmp_path / "model.pt2")
    torch.onnx.export(fixed, (), tmp_path / "model.onnx", dynamo=True, external_data=False, verbose=False)
    with pytest.raises(ExportError, match="must run a batch of 1, but failed with"):
        verify(tmp_path / "model.onnx", tmp_path / "model.pt2", model, batches(exported))


def test_no_images_prove_nothing(exported: Exported) -> None:
    with pytest.raises(ExportError, match="1 image or more"):
        verify(exported.dir / "model.onnx", exported.dir / "model.pt2", Shifted(exported), [])
