"""Exported folders: equal to the network, alone sufficient, whole or not there."""

from __future__ import annotations

import dataclasses
import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from export_case import CLASSES, SIDE, Exported, some_provenance, some_timing
from safetensors.torch import load_file
from stand_ins import WITHOUT_OCTNAS

import octnas
from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.errors import ExportError, ExportTargetError
from octnas.export import Timings, Verification, check_target, export_model, files
from octnas.export.card import model_card
from octnas.nn import build

NAMES = {"model.onnx", "model.pt2", "weights.safetensors", "architecture.json", "README.md", "classes.json"}

ALONE = (
    WITHOUT_OCTNAS
    + """
import numpy, onnxruntime, torch

images = numpy.load("images.npy")
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
(onnx,) = session.run(None, {"images": images})
pt2 = torch.export.load("model.pt2").module()(torch.from_numpy(images)).numpy(force=True)
numpy.savez("logits.npz", onnx=onnx, pt2=pt2)
assert "octnas" not in sys.modules
try:
    import octnas
except ImportError:
    print("alone")
"""
)


def logits_of(exported: Exported, pixels: np.ndarray) -> np.ndarray:
    """The network's own logits of uint8 pixels (B, H, W, C), normalised here."""
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 255
    mean, std = torch.tensor(exported.data.mean), torch.tensor(exported.data.std)
    normalised = (scaled - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
    with torch.inference_mode():
        return exported.network(normalised.float()).numpy()


def as_input(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_both_files_give_the_networks_logits(exported: Exported, batch: int) -> None:
    pixels = exported.data.val.images[:batch]
    expected = logits_of(exported, pixels)
    images = as_input(pixels)
    session = onnxruntime.InferenceSession(exported.dir / "model.onnx", providers=["CPUExecutionProvider"])
    (onnx,) = session.run(None, {"images": images})
    pt2 = torch.export.load(exported.dir / "model.pt2").module()(torch.from_numpy(images)).numpy(force=True)
    np.testing.assert_allclose(onnx, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pt2, expected, rtol=1e-4, atol=1e-5)


def test_the_report_is_of_these_images(exported: Exported) -> None:
    report = exported.report
    predicted = logits_of(exported, exported.data.val.images).argmax(1)
    assert set(predicted) == {0, 1, 2}  # or the comparison would say little
    right = predicted == exported.data.val.labels
    assert report.images == 57
    assert report.accuracy == pytest.approx(right.mean())
    assert report.accuracy_after_reload == pytest.approx(right.mean())
    assert 0 < report.max_abs_difference < 1e-3
    document = report.to_dict()
    assert document["training"] == "full"
    assert set(document["files"]) >= {"onnx", "pt2", "weights", "architecture", "card"}
    assert {Path(path).name for path in document["files"].values()} == NAMES
    assert {path.name for path in exported.dir.iterdir()} == NAMES
    assert json.loads(json.dumps(document)) == document


def test_the_files_run_where_octnas_cannot_be_imported(exported: Exported, tmp_path: Path) -> None:
    for name in ("model.onnx", "model.pt2"):
        (tmp_path / name).write_bytes((exported.dir / name).read_bytes())
    pixels = exported.data.val.images[:5]
    np.save(tmp_path / "images.npy", as_input(pixels))
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "alone"
    expected = logits_of(exported, pixels)
    with np.load(tmp_path / "logits.npz") as logits:
        np.testing.assert_allclose(logits["onnx"], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(logits["pt2"], expected, rtol=1e-4, atol=1e-5)


def test_weights_are_dense_by_torchvisions_names(exported: Exported) -> None:
    state = load_file(exported.dir / "weights.safetensors")
    assert set(state) == set(torchvision.models.resnet18().state_dict())
    assert state["layer3.0.conv1.weight"].shape == (32, 16, 3, 3)
    for name, value in exported.network.state_dict().items():
        assert torch.equal(state[name], value)
    # the weights don't depend on alpha: they fit the plain network as well
    plain = build(Architecture.uniform("resnet18", alpha=0, width=8, stem="small"), len(CLASSES), 1)
    plain.load_state_dict(state)


def test_architecture_and_classes_come_back(exported: Exported) -> None:
    text = (exported.dir / "architecture.json").read_text(encoding="utf-8")
    assert Architecture.from_json(text) == exported.network.architecture
    assert json.loads((exported.dir / "classes.json").read_text(encoding="utf-8")) == list(CLASSES)


def test_files_name_no_folder_of_this_machine(exported: Exported) -> None:
    here = str(Path(octnas.__file__).parent).encode()
    for path in exported.dir.iterdir():
        content = path.read_bytes()
        assert here not in content, path.name
        assert str(exported.dir.parent).encode() not in content, path.name


def test_the_card_states_the_figures(exported: Exported) -> None:
    card = (exported.dir / "README.md").read_text(encoding="utf-8")
    mine = cost(exported.network.architecture, (1, SIDE, SIDE), len(CLASSES))
    report = exported.report
    assert f"| compute of this network | {mine.gflops:.4f} GFLOPs (10^9 multiply-adds) per image |" in card
    weights = sum(parameter.numel() for parameter in exported.network.parameters())
    assert f"| parameters of this network | {weights:,} |" in card
    assert "This is a proxy, whose accuracy is not the target network's." in card
    assert "1.137 GFLOPs (10^9 multiply-adds): resnet18, width 64, at 3 x 224 x 224 px, 1000 classes" in card
    assert "all training data; 12 epochs, seed 5" in card
    assert "| validation accuracy, as trained | 31.25 % |" in card
    assert "| test accuracy (nothing was chosen by it) | 28.71 % |" in card
    assert f"| accuracy of the network on 57 validation images | {100 * report.accuracy:.2f} % |" in card
    assert f"| the same after reloading the files | {100 * report.accuracy_after_reload:.2f} % |" in card
    assert f"{report.max_abs_difference:.2g} (logits up to" in card
    assert "6 training, 57 validation and 5 test images" in card
    assert "subtract [0.62] and divide by [0.14]" in card
    assert "| 0 | cat\\|dog |" in card
    assert "| 2 | 犬\\_\\* |" in card
    assert "| `layer1.0` | 0.25 (2/8), 1 (8/8) |" in card
    assert "| `layer4.1` | 0.5 (32/64), 0.25 (16/64) |" in card
    assert "search `night-1`, trial `17`" in card


def test_the_card_and_the_report_carry_latency(exported: Exported) -> None:
    card = (exported.dir / "README.md").read_text(encoding="utf-8")
    latency = card.partition("## Latency on this device")[2].partition("\n## ")[0]
    assert "| device | a processor, 2 cores |" in latency
    assert "| runtime | onnxruntime, float32 |" in latency
    assert "| threads, batch | 1, 1 |" in latency
    assert "| versions | onnxruntime 1.0, octnas 0.1 |" in latency
    mine, _, target = latency.partition("The target network (resnet18, width 64")
    assert "| latency | 0.5 ms |" in mine
    assert "| latency of the plain network | 0.4 ms |" in mine
    assert "| ratio of latency | 1.250 (quartiles 1.240 to 1.260) |" in mine
    assert "| ratio of GFLOPs | 0.750 |" in mine
    assert "| **slower than the plain network** | fewer FLOPs, slower on this device |" in mine
    assert "| latency | 9 ms |" in target
    assert "slower" not in target
    assert "The search's limit was 9.5 ms for the target: measured 9 ms, under it." in target
    document = exported.report.to_dict()
    assert document["latency"] == some_timing(0.5, 0.4)
    assert document["target_latency"] == some_timing(9.0, 12.0)


def test_a_target_over_its_limit_is_called_so(exported: Exported) -> None:
    architecture = exported.network.architecture
    text = model_card(
        architecture=architecture,
        cost=cost(architecture, (1, SIDE, SIDE), len(CLASSES)),
        input_shape=(1, SIDE, SIDE),
        classes=CLASSES,
        data=None,
        provenance=some_provenance(),
        verification=Verification(images=8, max_abs_difference=1e-6, logit_scale=1.0),
        timings=Timings(network=some_timing(10.0, 12.0)),
    )
    assert "This network (`model.onnx`), which is the target network:" in text
    assert "The search's limit was 9.5 ms for the target: measured 10 ms, OVER it." in text
    assert "**slower" not in text


@pytest.mark.parametrize(
    ("begun_from", "row"),
    [
        (None, "; 12 epochs, seed 5 |"),
        ("torchvision's weights", "; 12 epochs, seed 5, begun from torchvision's weights |"),
    ],
)
def test_the_card_says_whose_weights_a_training_began_from(
    exported: Exported, begun_from: str | None, row: str
) -> None:
    architecture = exported.network.architecture
    text = model_card(
        architecture=architecture,
        cost=cost(architecture, (1, SIDE, SIDE), len(CLASSES)),
        input_shape=(1, SIDE, SIDE),
        classes=CLASSES,
        data=None,
        provenance=dataclasses.replace(some_provenance(), begun_from=begun_from),
        verification=Verification(images=8, max_abs_difference=1e-6, logit_scale=1.0),
    )
    assert row in text


@pytest.mark.usefixtures("stub")
def test_an_export_that_was_not_timed_says_nothing_of_latency(exported: Exported, tmp_path: Path) -> None:
    again(exported, tmp_path / "winner")
    assert "Latency" not in (tmp_path / "winner" / "README.md").read_text(encoding="utf-8")


def test_the_cards_code_runs(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    card = (exported.dir / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(exported.dir)
    spaces = []
    for block in blocks:
        torch.manual_seed(0)
        space: dict[str, object] = {}
        exec(compile(block, "card", "exec"), space)
        spaces.append(space)
    assert spaces[0]["logits"].shape == (3, len(CLASSES))
    # the second block and the third draw the same images: the files and the rebuilt network agree
    torch.manual_seed(0)
    images = torch.rand(3, 1, SIDE, SIDE)
    rebuilt = spaces[2]["fast"]((images - spaces[2]["mean"]) / spaces[2]["std"])
    torch.testing.assert_close(spaces[1]["logits"], rebuilt, rtol=1e-4, atol=1e-5)


@pytest.fixture
def stub(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two graphs are copied instead of exported, which takes seconds."""

    def copied(deployed: object, shape: object, folder: Path) -> None:
        for name in ("model.onnx", "model.pt2"):
            (folder / name).write_bytes((exported.dir / name).read_bytes())

    monkeypatch.setattr(files, "_write_graphs", copied)


def again(exported: Exported, to: Path) -> None:
    export_model(
        exported.network,
        to=to,
        example_shape=(1, SIDE, SIDE),
        classes=CLASSES,
        data=exported.data,
        provenance=some_provenance(),
    )


@pytest.mark.usefixtures("stub")
def test_an_earlier_export_is_replaced(exported: Exported, tmp_path: Path) -> None:
    to = tmp_path / "winner"
    to.mkdir()
    again(exported, to)
    (to / "README.md").write_text("old")
    again(exported, to)
    assert (to / "README.md").read_text(encoding="utf-8").startswith("# resnet18 with octave convolutions")
    assert [path.name for path in tmp_path.iterdir()] == ["winner"]
    assert {path.name for path in to.iterdir()} == NAMES


@pytest.mark.parametrize("place", ["a-file", "a-file/inside", "/proc/none/deep", "/proc/none"])
def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path: Path, place: str) -> None:
    (tmp_path / "a-file").write_text("mine")
    with pytest.raises(ExportTargetError, match="choose another --to") as caught:
        check_target(tmp_path / place)
    assert caught.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a-file"]


def test_a_folder_to_be_made_is_left_to_be_made(tmp_path: Path) -> None:
    assert check_target(tmp_path / "new" / "winner") == (tmp_path / "new" / "winner").resolve()
    assert list(tmp_path.iterdir()) == []


def test_nothing_else_is_replaced(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"holds 'notes\.txt': choose another --to"):
        again(exported, tmp_path)
    with pytest.raises(ExportError, match=r"goes into a folder, but .* is a file"):
        again(exported, tmp_path / "notes.txt")
    # a README alone is no export
    (tmp_path / "notes.txt").rename(tmp_path / "README.md")
    with pytest.raises(ExportError, match=r"holds 'README\.md'"):
        again(exported, tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize("earlier", [False, True])
def test_a_full_disk_leaves_no_half_of_an_export(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    to = tmp_path / "winner"
    if earlier:
        to.mkdir()
        (to / "architecture.json").write_text(exported.network.architecture.to_json())

    def full(deployed: object, shape: object, folder: Path) -> None:
        (folder / "model.pt2").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_write_graphs", full)
    with pytest.raises(ExportError, match="No space left on device; free space"):
        again(exported, to)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == (["winner", "winner/architecture.json"] if earlier else [])


@pytest.mark.usefixtures("stub")
def test_a_file_that_differs_from_the_network_is_not_delivered(exported: Exported, tmp_path: Path) -> None:
    other = build(exported.network.architecture, num_classes=len(CLASSES), in_channels=1)
    with pytest.raises(ExportError, match=r"logits of model\.onnx must be within .* nothing was written"):
        export_model(
            other,
            to=tmp_path / "winner",
            example_shape=(1, SIDE, SIDE),
            classes=CLASSES,
            data=exported.data,
            provenance=some_provenance(),
        )
    assert list(tmp_path.iterdir()) == []
