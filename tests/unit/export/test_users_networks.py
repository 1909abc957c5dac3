"""Users' networks deployed and exported: equal to the converted ones, in files without their code."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from export_case import CLASSES, SIDE, check_files, distance, lived_in, noise_images, some_provenance
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from users_case import Aliased, Dilated, Excited, Segmenter, Volume, converted

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.costs.plans import network_ops
from octnas.export import deploy, export_model
from octnas.export.convs import DeployedConv
from octnas.nn import ConvertedNetwork, build
from octnas.trace import convert

IMAGES, CLIPS = (3, 48, 52), (3, 8, 40, 44)
NETWORKS: list[tuple[type[nn.Module], tuple[int, ...]]] = [
    (Dilated, IMAGES),
    (Excited, IMAGES),
    (Volume, CLIPS),
    (Aliased, IMAGES),
    (Segmenter, IMAGES),
]
CLASSIFIERS = [case for case in NETWORKS if case[0] is not Segmenter]


def sized(shape: tuple[int, ...], height: int, width: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, *shape[:-2], height, width)


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize(("kind", "shape"), NETWORKS)
def test_equals_the_network_at_every_size(
    kind: type[nn.Module], shape: tuple[int, ...], seed: int | None
) -> None:
    net = converted(kind(), shape, seed)
    fast = deploy(net)
    for height, width in ((48, 52), (45, 64), (39, 37)):
        images = sized(shape, height, width)
        before = images.clone()
        with torch.inference_mode():
            assert distance(fast(images), net(images)) <= 1e-5
        assert torch.equal(images, before)
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert not any(module.training for module in fast.modules())


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize(("kind", "shape"), NETWORKS)
def test_ordinary_convolutions_give_the_same_maps(
    kind: type[nn.Module], shape: tuple[int, ...], seed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the packed ones only a sum with a map that nothing else reads may be written to."""
    net = converted(kind(), shape, seed)
    fast, images = deploy(net), sized(shape, 48, 52)
    with torch.inference_mode():
        packed = fast(images)
        monkeypatch.setattr("octnas.export.convs.can_pack", lambda: False)
        assert distance(packed, deploy(net)(images)) <= 1e-5


@pytest.mark.parametrize(("kind", "shape"), CLASSIFIERS[:2])
def test_a_2d_network_takes_clips_frame_by_frame(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    net = converted(kind(), shape, 0)
    clips = torch.randn(2, 3, 4, *shape[1:])
    with torch.inference_mode():
        assert distance(deploy(net, frames=4)(clips), net(clips)) <= 1e-5


@pytest.mark.parametrize(("kind", "shape"), NETWORKS)
def test_the_maps_of_the_stages_are_the_networks(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    net = converted(kind(), shape, 1, features_only=True)
    images = sized(shape, 44, 48)
    with torch.inference_mode():
        expected, got = net(images), deploy(net)(images)
    assert [each.shape for each in got] == [each.shape for each in expected]
    assert all(distance(ours, theirs) <= 1e-5 for ours, theirs in zip(got, expected, strict=True))


@pytest.mark.parametrize("downsample", ["strided", "pooled"])
def test_layers_without_low_channels_downsample_as_the_architecture_says(downsample: str) -> None:
    model = lived_in(Excited())
    net = convert(model, alpha=0, input_shape=IMAGES, downsample=downsample).eval()  # type: ignore[arg-type]
    images = sized(IMAGES, 48, 52)
    with torch.inference_mode():
        assert distance(deploy(net)(images), net(images)) <= 1e-5


def test_a_sum_is_inside_a_convolution_behind_which_only_dropout_stands() -> None:
    net = converted(Excited(), IMAGES, 0)
    fast = deploy(net)
    names = {type(layer).__name__ for layer in fast.layers}
    assert "DeployedSum" not in names
    assert not any(isinstance(module, nn.Dropout) for module in fast.modules())


def test_the_activation_of_every_layer_is_in_its_kernel() -> None:
    fast = deploy(converted(Excited(), IMAGES))
    found = {conv.activation for conv in fast.modules() if isinstance(conv, DeployedConv)}
    assert {"silu", "hardswish"} <= found


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize(("kind", "shape"), CLASSIFIERS)
def test_the_operations_of_a_plan_are_those_of_the_network(
    kind: type[nn.Module], shape: tuple[int, ...], seed: int | None
) -> None:
    net = converted(kind(), shape, seed)
    with FlopCounterMode(display=False) as counter:
        deploy(net)(torch.zeros(1, *shape))
    assert counter.get_total_flops() == 2 * sum(op.macs for op in network_ops(net.architecture, shape))
    fewest = network_ops(net.architecture, shape, times=lambda op: float(op.macs))
    assert sum(op.macs for op in fewest) == cost(net.architecture, shape).macs


@pytest.mark.parametrize(("kind", "shape"), CLASSIFIERS[:3])
def test_the_compiler_sees_one_graph(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    net = converted(kind(), shape, 1)
    images = sized(shape, 40, 45)  # a size that the network was not deployed for
    with torch.inference_mode():
        compiled = torch.compile(deploy(net), fullgraph=True, dynamic=False, backend="eager")
        assert distance(compiled(images), net(images)) <= 1e-5


@pytest.mark.parametrize(("kind", "shape"), CLASSIFIERS)
def test_the_exported_graphs_equal_the_network(
    kind: type[nn.Module], shape: tuple[int, ...], tmp_path: Path
) -> None:
    check_files(converted(kind(), shape, 0), shape, tmp_path)


def test_the_exported_graph_of_a_2d_network_takes_clips(tmp_path: Path) -> None:
    check_files(converted(Dilated(), IMAGES, 0), (3, 2, 48, 52), tmp_path)


THEIRS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "shufflenet_v2_x0_5": (lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=7), (3, 64, 64)),
    "efficientnet_b0": (lambda: torchvision.models.efficientnet_b0(num_classes=7), (3, 96, 96)),
    "regnet_y_400mf": (lambda: torchvision.models.regnet_y_400mf(num_classes=7), (3, 64, 64)),
    "googlenet": (
        lambda: torchvision.models.googlenet(num_classes=7, aux_logits=False, init_weights=False),
        (3, 96, 96),
    ),
    # its last window is 7 px
    "s3d": (lambda: torchvision.models.video.s3d(num_classes=7), (3, 16, 224, 224)),
}


@pytest.mark.parametrize("name", [name for name in THEIRS if name != "s3d"])
def test_torchvisions_networks_deployed(name: str) -> None:
    make, shape = THEIRS[name]
    net = convert(lived_in(make()), alpha=0.5, input_shape=shape).eval()
    assert any(net.architecture.low_channels)
    images = torch.randn(2, *shape)
    with torch.inference_mode():
        assert distance(deploy(net)(images), net(images)) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", THEIRS)
def test_torchvisions_networks_as_files(name: str, tmp_path: Path) -> None:
    make, shape = THEIRS[name]
    net = convert(lived_in(make()), alpha=0.5, input_shape=shape).eval()
    check_files(net, shape, tmp_path)


def test_a_network_of_timm_as_files(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    model = lived_in(timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=7))
    check_files(convert(model, alpha=0.5, input_shape=(3, 96, 96)).eval(), (3, 96, 96), tmp_path)


FACTORY = "users_networks:named"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ConvertedNetwork]:
    """The export of a user's network that has a factory, and the network."""
    arch = Architecture.uniform(FACTORY, alpha=0.5, input_size=SIDE)
    net = lived_in(build(arch, num_classes=len(CLASSES), in_channels=1))
    to = tmp_path_factory.mktemp("users") / "export"
    export_model(
        net,
        to=to,
        example_shape=(1, SIDE, SIDE),
        classes=CLASSES,
        data=noise_images(),
        provenance=dataclasses.replace(some_provenance(), target_digest=arch.digest),
    )
    assert isinstance(net, ConvertedNetwork)
    return to, net


def test_the_weights_of_an_export_have_the_names_of_the_users_network(
    folder: tuple[Path, ConvertedNetwork],
) -> None:
    import users_networks

    to, net = folder
    theirs = users_networks.named(num_classes=len(CLASSES), in_channels=1)
    theirs.load_state_dict(load_file(to / "weights.safetensors"))
    assert json.loads((to / "architecture.json").read_text())["backbone"] == FACTORY
    plain = build(Architecture.uniform(FACTORY, alpha=0), num_classes=len(CLASSES), in_channels=1)
    plain.load_state_dict(net.state_dict())
    images = torch.randn(2, 1, SIDE, SIDE)
    with torch.inference_mode():
        assert distance(plain.eval()(images), theirs.eval()(images)) <= 1e-5


def test_the_card_says_what_a_users_network_needs(folder: tuple[Path, ConvertedNetwork]) -> None:
    card = (folder[0] / "README.md").read_text(encoding="utf-8")
    assert f"found by octnas: {FACTORY}, strided downsampling, 1 x {SIDE} x {SIDE} px in" in card
    assert f"; {FACTORY} must be at hand there, with its code as it was" in card
    assert "the trained weights by the network's own names, before folding" in card
    assert "stem" not in card
    assert "torchvision" not in card


def test_the_files_need_none_of_the_users_code(folder: tuple[Path, ConvertedNetwork]) -> None:
    to, net = folder
    images = torch.rand(3, 1, SIDE, SIDE)
    torch.save(images, to.parent / "images.pt")
    code = """
import sys
import numpy as np, onnxruntime, torch
images = torch.load(sys.argv[1] + "/../images.pt")
logits = torch.export.load(sys.argv[1] + "/model.pt2").module()(images)
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx", providers=["CPUExecutionProvider"])
(again,) = session.run(None, {"images": images.numpy()})
assert not any(name.split(".")[0] in ("octnas", "users_networks") for name in sys.modules)
torch.save((logits, torch.from_numpy(np.asarray(again))), sys.argv[1] + "/../logits.pt")
"""
    subprocess.run([sys.executable, "-c", code, str(to)], check=True, cwd=to.parent)
    data = noise_images()
    with torch.inference_mode():
        want = net.eval()((images - data.mean[0]) / data.std[0])
    for logits in torch.load(to.parent / "logits.pt"):
        assert distance(logits.detach(), want) <= 1e-4


def test_a_network_without_a_factory_is_exported_and_replaced(tmp_path: Path) -> None:
    model = lived_in(Dilated())
    net = convert(model, alpha=0.5, input_shape=(3, SIDE, SIDE)).eval()
    settings = {
        "to": tmp_path / "export",
        "example_shape": (3, SIDE, SIDE),
        "classes": tuple("abcde"),
        "data": None,
        "provenance": some_provenance(),
    }
    report = export_model(net, **settings)  # type: ignore[arg-type]
    assert report.max_abs_difference <= 1e-3
    card = (tmp_path / "export" / "README.md").read_text(encoding="utf-8")
    assert "network = octnas.convert(model, architecture=architecture)" in card
    assert "| `near` | 0.5 (8/16) |" in card
    # another process does not know its layers, and still sees an export that it may replace
    text = (tmp_path / "export" / "architecture.json").read_text(encoding="utf-8")
    (tmp_path / "export" / "architecture.json").write_text(text.replace("Dilated-", "Unknown-"))
    assert export_model(net, **settings).dir == tmp_path / "export"  # type: ignore[arg-type]
