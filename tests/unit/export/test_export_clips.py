"""Exports of networks of clips: 3D ones, and 2D ones frame by frame. Files, check, card."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from export_case import CLASSES, some_provenance, some_timings
from torch.nn.modules.batchnorm import _BatchNorm

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.data import ImageSet, MemoryClips
from octnas.export import ExportReport, export_model
from octnas.nn import OctaveNetwork, build

FRAMES, SIDE = 4, 16
SHAPE = (1, FRAMES, SIDE, SIDE)


def noise_clips() -> ImageSet:
    rng = np.random.default_rng(0)

    def split(count: int) -> MemoryClips:
        clips = rng.integers(80, 255, (count, FRAMES, SIDE, SIDE, 1), dtype=np.uint8)
        return MemoryClips(clips=clips, labels=np.arange(count, dtype=np.int64) % len(CLASSES))

    return ImageSet(
        name="noise", classes=CLASSES, channels=1, size=SIDE, frames=FRAMES, train=split(3), val=split(17),
        test=None, fingerprint="0" * 12, licence="public domain", origin="drawn by seed 0", flip=False,
        mean=(0.65,), std=(0.2,),
    )  # fmt: skip


def network_of(backbone: str) -> OctaveNetwork:
    torch.manual_seed(0)
    architecture = Architecture.uniform(backbone, alpha=0.5, width=8, stem="small", input_size=32)
    network = build(architecture, num_classes=len(CLASSES), in_channels=1)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def export_to(folder: Path, backbone: str) -> ExportReport:
    return export_model(
        network_of(backbone), to=folder, example_shape=SHAPE, classes=CLASSES, data=noise_clips(),
        provenance=some_provenance(), timed=some_timings,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("backbone", "kind"),
    [
        ("i3d_resnet10", "A classifier of clips, with convolutions over time, found by octnas: i3d_resnet10"),
        ("resnet10", "A classifier of clips, frame by frame with the mean over frames before the last layer"),
    ],
)
def test_the_files_and_the_card_of_a_network_of_clips(
    backbone: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = export_to(tmp_path / "model", backbone)
    assert report.input_shape == SHAPE
    assert report.to_dict()["input_shape"] == list(SHAPE)
    assert report.images == 17
    assert report.max_abs_difference < 1e-3
    assert report.accuracy_after_reload == report.accuracy
    architecture = network_of(backbone).architecture
    assert report.gflops == cost(architecture, SHAPE, len(CLASSES)).gflops
    card = report.files["card"].read_text(encoding="utf-8")
    assert kind in card
    assert "1 x 4 frames x 16 x 16 px in, 3 classes out" in card
    assert "per clip |" in card
    assert "accuracy of the network on 17 validation clips" in card
    assert "3 training, 17 validation and 0 test clips" in card
    assert "(batch, 1, 4, 16, 16), grey" in card
    assert "4 frames of a clip, in their order" in card

    # The code of the card runs as it stands, and all three ways give the same.
    monkeypatch.chdir(report.dir)
    spaces = []
    for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        torch.manual_seed(0)
        space: dict[str, object] = {}
        exec(compile(block, "card", "exec"), space)
        spaces.append(space)
    assert [len(space["logits"]) for space in spaces[:2]] == [3, 3]  # type: ignore[arg-type]
    torch.manual_seed(0)
    clips = torch.rand(3, *SHAPE)
    normalised = (clips - spaces[2]["mean"]) / spaces[2]["std"]  # type: ignore[operator]
    rebuilt = spaces[2]["fast"](normalised)  # type: ignore[operator]
    torch.testing.assert_close(spaces[1]["logits"], rebuilt, rtol=1e-4, atol=1e-5)
