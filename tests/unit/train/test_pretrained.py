"""Weights from elsewhere: read without running code, fitted to any alpha, refused with keys and shapes."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save, save_file
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.errors import RunError
from octnas.nn import build, inflate
from octnas.train.pretrained import begins_anew, digest_of, fitted_state, read_state


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """torchvision's resnet18 with batch-norm that is not as it was born."""
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.resnet18(num_classes=4)
    for name, value in network.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.2)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return network.eval()


def small(**options: Any) -> Architecture:
    """A tiny network, of which every file is made that no fixture is for."""
    return Architecture.uniform("resnet10", **{"alpha": 0, "width": 4, "stem": "small", **options})


def saved(value: Any, *, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def same(state: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[key], other[key]) for key in state)


# ------------------------------------------------------------------------ reading
def test_every_spelling_of_a_state_dict_is_read(tmp_path: Path) -> None:
    state = build(small(), num_classes=3).state_dict()
    wrapped = {f"module.{key}": value for key, value in state.items()}
    compiled = {f"_orig_mod.{key}": value for key, value in wrapped.items()}
    spellings = [
        saved(state),
        saved(state, legacy=True),
        saved({"epoch": 3, "state_dict": wrapped}),
        saved({"model": compiled, "optimizer": {"lr": 0.1}}),
        save({key: value.contiguous() for key, value in state.items()}),
    ]
    for number, content in enumerate(spellings):
        path = tmp_path / f"{number}.weights"
        path.write_bytes(content)
        assert same(read_state(path), state)
        assert same(read_state(content), state)
    in_order = [key for key in read_state(spellings[-1]) if key.endswith("conv1.weight")]
    assert in_order == ["conv1.weight", *(f"layer{n}.0.conv1.weight" for n in (1, 2, 3, 4))]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "weights must be a safetensors file or a state dict saved by torch.save, but x.pt is neither"),
        (b"<html>not found</html>", "x.pt is neither, or is damaged: get the file again"),
        (b"\x08\0\0\0\0\0\0\0{12345678", "x.pt is neither, or is damaged"),
        (
            saved(nn.Linear(2, 2)),
            "x.pt holds an object of torch.nn.modules.linear.Linear, which is not opened",
        ),
        (saved({"model": nn.Linear(2, 2)}), "because that would run code: save `network.state_dict()`"),
        (saved(7), "weights must be a state dict, but x.pt holds a value of type int: save"),
        (saved({}), "weights must be a state dict, but x.pt holds an empty one"),
        (saved({"epoch": 7}), "a state dict must hold tensors, but 'epoch' of x.pt is a value of type int"),
        (saved({"a": torch.tensor([1.0, float("nan")])}), "weights must be finite, but a of x.pt is not"),
    ],
)
def test_what_is_no_state_dict_is_refused_in_one_line(content: bytes, message: str) -> None:
    with pytest.raises(RunError) as error:
        read_state(content, name="x.pt")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_cut_off_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    state = {key: value.contiguous() for key, value in build(small()).state_dict().items()}
    for content in (saved(state), save(state)):
        (tmp_path / "half").write_bytes(content[: len(content) // 2])
        with pytest.raises(RunError, match="half is neither, or is damaged"):
            read_state(tmp_path / "half")
    with pytest.raises(RunError, match=r"a file that can be read, but .*gone: No such file"):
        read_state(tmp_path / "gone")


# ------------------------------------------------------------------------ fitting
def test_alpha_0_with_torchvisions_file_is_torchvisions_network(theirs: nn.Module, tmp_path: Path) -> None:
    torch.save(theirs.state_dict(), tmp_path / "r.pth")
    architecture = Architecture.uniform("resnet18", alpha=0)
    state, notes = fitted_state(
        read_state(tmp_path / "r.pth"), architecture, num_classes=4, in_channels=3, name="r.pth"
    )
    assert notes == []
    ours = build(architecture, num_classes=4).eval()
    ours.load_state_dict(state, strict=True)
    x = torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)
    half, _ = fitted_state(
        state, Architecture.uniform("resnet18", alpha=0.5), num_classes=4, in_channels=3, name="r.pth"
    )
    assert same(half, theirs.state_dict()), "the weights do not know alpha"


def test_gray_images_see_what_three_equal_channels_see(theirs: nn.Module) -> None:
    architecture = Architecture.uniform("resnet18", alpha=0)
    state, notes = fitted_state(theirs.state_dict(), architecture, num_classes=4, in_channels=1, name="r.pth")
    assert notes == ["r.pth: the first convolution reads gray images, so its 3 input channels are summed"]
    ours = build(architecture, num_classes=4, in_channels=1).eval()
    ours.load_state_dict(state, strict=True)
    x = torch.randn(2, 1, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("classes", [7, None])
def test_a_classifier_of_other_classes_begins_anew(classes: int | None) -> None:
    given = build(small(), num_classes=classes or 5).state_dict()
    if classes is None:
        given = {key: value for key, value in given.items() if not key.startswith("fc.")}
    state, notes = fitted_state(given, small(), num_classes=5, in_channels=3, name="r.pth")
    what = "has no classifier" if classes is None else "classifies 7 classes"
    assert notes == [f"r.pth {what}, the images have 5: the classifier begins anew, at 0"]
    network = build(small(), num_classes=5).eval()
    network.load_state_dict(state, strict=True)
    assert begins_anew(state, small())
    assert not network(torch.randn(2, 3, 16, 16)).any()
    assert torch.equal(state["layer4.0.conv2.weight"], given["layer4.0.conv2.weight"])
    fitting, notes = fitted_state(
        build(small(), num_classes=5).state_dict(), small(), num_classes=5, in_channels=3, name="r.pth"
    )
    assert (begins_anew(fitting, small()), notes) == (False, [])


def test_files_of_before_are_read_too() -> None:
    """torchvision's DenseNet spells `norm.1`, and old files do not count batches."""
    architecture = Architecture.uniform("densenet121", alpha=0, width=16, stem="small")
    own = build(architecture, num_classes=3).state_dict()
    old = {
        key.replace("norm1", "norm.1").replace("norm2", "norm.2").replace("conv1", "conv.1")
        if "denselayer" in key
        else key: value.double()
        for key, value in own.items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    state, notes = fitted_state(old, architecture, num_classes=3, in_channels=3, name="d.pth")
    assert notes == []
    assert same(state, own)
    assert all(state[key].dtype == own[key].dtype for key in own)


@pytest.mark.parametrize("backbone", ["c2d_resnet18", "r3d_18"])
def test_a_2d_file_is_inflated_for_its_3d_relatives_in_whatever_order_it_is(
    theirs: nn.Module, backbone: str, tmp_path: Path
) -> None:
    shuffled = list(theirs.state_dict().items())
    random.Random(1).shuffle(shuffled)
    save_file({key: value.contiguous() for key, value in shuffled}, tmp_path / "r.safetensors")
    architecture = Architecture.uniform(backbone, alpha=0.5)
    state, notes = fitted_state(
        read_state(tmp_path / "r.safetensors"), architecture, num_classes=4, in_channels=3, name="r"
    )
    assert notes == [f"r: its 2D kernels are inflated for {backbone}"]
    reference = build(architecture, num_classes=4)
    inflate(theirs.state_dict(), reference)
    assert same(state, reference.state_dict())
    other, notes = fitted_state(theirs.state_dict(), architecture, num_classes=6, in_channels=1, name="r")
    assert len(notes) == 3
    assert begins_anew(other, architecture)
    stem = next(key for key in state if state[key].ndim == 5)
    torch.testing.assert_close(other[stem], state[stem].sum(1, keepdim=True))


MISFITS = [
    (
        small(),
        small(width=8, stem="imagenet"),
        1,
        "weights must fit resnet10 (width 8, stem imagenet, input channels 1, classes 3), but of the keys of "
        "r.pth 61 are of another shape (conv1.weight is 4x3x3x3 where 8x1x7x7 is needed, bn1.weight is 4 "
        "where 8 is needed, bn1.bias is 4 where 8 is needed, ...): take the backbone, and a space with the "
        "`proxy.width` and `proxy.stem`, that the weights were trained with",
    ),
    (
        small(),
        small(stem="imagenet"),
        1,
        "of the keys of r.pth 1 is of another shape (conv1.weight is 4x3x3x3 where 4x1x7x7 is needed)",
    ),
    (
        small(),
        Architecture.uniform("resnet18", alpha=0, width=4, stem="small"),
        3,
        "of the keys of r.pth 40 are missing (layer1.1.conv1.weight, layer1.1.bn1.weight, "
        "layer1.1.bn1.bias, ...)",
    ),
    (
        Architecture.uniform("resnet18", alpha=0, width=4, stem="small"),
        small(),
        3,
        "r.pth 48 are unknown (layer1.1.conv1.weight, ",
    ),
    (
        small(width=8),
        Architecture.uniform("i3d_resnet10", alpha=0, width=4, stem="small"),
        3,
        "r.pth does not fit i3d_resnet10: inflation needs a 2D network of the same widths",
    ),
    (
        small(stem="imagenet"),
        Architecture.uniform("i3d_resnet10", alpha=0, width=4, stem="small"),
        3,
        "r.pth 1 is of another shape (conv1.weight is 4x3x7x7 where 4x3x5x3x3 is needed)",
    ),
]


@pytest.mark.parametrize(("of", "into", "channels", "message"), MISFITS)
def test_what_does_not_fit_is_told_by_keys_and_shapes(
    of: Architecture, into: Architecture, channels: int, message: str
) -> None:
    state = build(of, num_classes=3).state_dict()
    with pytest.raises(RunError) as error:
        fitted_state(state, into, num_classes=3, in_channels=channels, name="r.pth")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_digest_tells_weights_apart_and_not_their_order() -> None:
    state = build(small()).state_dict()
    backwards = dict(reversed(state.items()))
    assert digest_of(backwards) == digest_of(state)
    assert digest_of({**state, "fc.bias": state["fc.bias"] + 1}) != digest_of(state)
