"""A converted network as the encoder of a user's own decoder: its maps, and a small training with them."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import octnas
from octnas.data import load_images
from octnas.errors import ConversionError
from octnas.nn import ConvertedNetwork
from tests.unit.nn.family_case import randomized
from tests.unit.trace.networks import relative

SIDE = 32
CLASSES = ("background", "disc", "square", "triangle")
STAGES = ("stage1", "stage2", "stage3")
STEPS, BATCH, HELD_OUT = 200, 16, 128
ENOUGH = 0.33
"""Mean IoU of a trained network. Over five seeds the plain one had .45 to .64 and the octave one .40 to .56;
before training both have .02 at most, and background everywhere is worth .21."""


class Residual(nn.Module):
    """Two convolutions and a shortcut, as a user may have written them."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.second = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.last_norm = nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(channels, out, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        here = self.last_norm(self.second(torch.relu(self.norm(self.first(x)))))
        return torch.relu(here + self.shortcut(x))


class Encoder(nn.Module):
    """A classifier of three stages, at 1, 1/2 and 1/4 of the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.stage1 = nn.Sequential(Residual(12, 12, 1), Residual(12, 12, 1))
        self.stage2 = nn.Sequential(Residual(12, 16, 2), Residual(16, 16, 1))
        self.stage3 = nn.Sequential(Residual(16, 32, 2), Residual(32, 32, 1))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stage3(self.stage2(self.stage1(self.stem(x)))).mean((2, 3)))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Class scores of each pixel: a 1x1 convolution of each map, raised to the first one's size, summed."""

    def __init__(self, encoder: nn.Module, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = encoder
        self.scores = nn.ModuleList(nn.Conv2d(each, len(CLASSES), 1) for each in channels)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.encoder(x)
        size = maps[0].shape[-2:]
        scores = [score(each) for score, each in zip(self.scores, maps, strict=True)]
        raised = [functional.interpolate(each, size=size, mode="bilinear") for each in scores]
        return torch.stack(raised).sum(0)


@functools.cache
def scenes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Shapes over garments, float32 (N, 1, 32, 32) in 0..1, and the class of every pixel, (N, 32, 32)."""
    garments = load_images("fashion-sample").train
    rng = np.random.default_rng(seed)
    picked = np.sort(rng.choice(len(garments), count, replace=False))
    images = garments.images[picked].astype(np.float32).squeeze(-1) / 255  # type: ignore[attr-defined]
    masks = np.zeros((count, SIDE, SIDE), np.int64)
    for image, mask in zip(images, masks, strict=True):
        for _ in range(2):
            kind = int(rng.integers(1, len(CLASSES)))
            inside = drawn(kind, rng.uniform(6, SIDE - 6, 2), rng.uniform(4, 7))
            image[inside] = rng.uniform(0.3, 1) + rng.normal(0, 0.03, int(inside.sum()))
            mask[inside] = kind
    return torch.from_numpy(images).unsqueeze(1), torch.from_numpy(masks)


def drawn(kind: int, middle: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    """The pixels of a shape, (32, 32)."""
    y, x = np.mgrid[:SIDE, :SIDE] - middle[:, None, None]
    if kind == 1:
        return np.asarray(x**2 + y**2 <= radius**2)
    if kind == 2:
        return np.maximum(abs(x), abs(y)) <= 0.85 * radius
    return (y <= 0.8 * radius) & (abs(x) <= (y + radius) / 1.6)


def mean_iou(network: nn.Module, images: Tensor, masks: Tensor) -> float:
    """Intersection over union, the mean over the classes, of all pixels together."""
    network.eval()
    with torch.no_grad():
        found = network(images).argmax(1)
    shares = [
        float(((found == kind) & (masks == kind)).sum() / ((found == kind) | (masks == kind)).sum())
        for kind in range(len(CLASSES))
    ]
    return float(np.mean(shares))


def segmenter(alpha: float, seed: int = 0) -> tuple[Decoder, ConvertedNetwork]:
    """A user's decoder, and what octnas made of their encoder inside it: its weights are the seed's alone."""
    torch.manual_seed(seed)
    body = octnas.convert(Encoder(), alpha, input_shape=(1, SIDE, SIDE), features_only=True)
    return Decoder(body, body.feature_channels), body


def train(network: nn.Module, seed: int = 0) -> None:
    """A few seconds of Adam on scenes, at a rate that rises and falls."""
    images, masks = scenes(1024, seed)
    draw = torch.Generator().manual_seed(seed)
    network.train()
    optimiser = torch.optim.Adam(network.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=STEPS)
    for _ in range(STEPS):
        picked = torch.randint(len(images), (BATCH,), generator=draw)
        optimiser.zero_grad()
        functional.cross_entropy(network(images[picked]), masks[picked]).backward()
        optimiser.step()
        rate.step()


def maps_of(network: nn.Module, paths: tuple[str, ...], x: Tensor) -> list[Tensor]:
    """What the modules at `paths` return in a user's own network."""
    found: dict[str, Tensor] = {}
    hooks = [
        network.get_submodule(path).register_forward_hook(
            lambda module, given, result, path=path: found.update({path: result})
        )
        for path in paths
    ]
    with torch.no_grad():
        network.eval()(x)
    for hook in hooks:
        hook.remove()
    return [found[path] for path in paths]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Maps this small gain nothing by more, and lose much by it on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=[0, 0.5], ids=["plain", "octave"])
def trained(request: pytest.FixtureRequest) -> tuple[Decoder, ConvertedNetwork]:
    network, body = segmenter(request.param)
    train(network)
    return network, body


def test_it_learns_to_segment_shapes(trained: tuple[Decoder, ConvertedNetwork]) -> None:
    images, masks = scenes(HELD_OUT, 1000)
    assert (masks == 0).float().mean() / len(CLASSES) < 0.22  # of background everywhere
    network, body = trained
    assert mean_iou(segmenter(body.architecture.alphas[0])[0], images, masks) < 0.03
    assert mean_iou(network, images, masks) > ENOUGH


def test_the_trained_body_is_the_users_again(trained: tuple[Decoder, ConvertedNetwork]) -> None:
    _, body = trained
    plain = Encoder()
    plain.load_state_dict(body.state_dict())
    x = scenes(4, 1000)[0]
    with torch.no_grad():
        ours = body.eval()(x)
    theirs = maps_of(plain, STAGES, x)
    if any(body.architecture.low_channels):
        assert all(relative(*pair) > 1e-2 for pair in zip(ours, theirs, strict=True))
        ours = octnas.convert(plain, 0, input_shape=(1, SIDE, SIDE), features_only=True).eval()(x)
    assert all(relative(*pair) <= 1e-5 for pair in zip(ours, theirs, strict=True))


def test_the_octave_body_has_fewer_multiply_adds_as_pytorch_counts_them() -> None:
    macs = {}
    for alpha in (0, 0.25, 0.5):
        _, body = segmenter(alpha)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            body.eval()(torch.zeros(1, 1, SIDE, SIDE))
        macs[alpha] = octnas.cost(body.architecture, (1, SIDE, SIDE)).macs
        assert counter.get_total_flops() == 2 * macs[alpha]
    # by hand: the stem, then of each stage its 3x3 convolutions and its 1x1 shortcuts
    side = SIDE * SIDE
    assert macs[0] == (
        side * 9 * 12
        + side * (4 * 9 * 12 * 12 + 2 * 12 * 12)
        + side // 4 * (9 * 12 * 16 + 3 * 9 * 16 * 16 + 12 * 16 + 16 * 16)
        + side // 16 * (9 * 16 * 32 + 3 * 9 * 32 * 32 + 16 * 32 + 32 * 32)
    )
    assert macs[0.5] < macs[0.25] < macs[0]
    assert macs[0.5] < 0.6 * macs[0]


@pytest.mark.parametrize("alpha", [0, 0.5])
def test_gradients_reach_every_parameter_of_the_body(alpha: float) -> None:
    network, body = segmenter(alpha)
    images, masks = scenes(8, 0)
    functional.cross_entropy(network.train()(images), masks).backward()
    without = {name for name, each in body.named_parameters() if each.grad is None}
    assert without == {"head.weight", "head.bias"}  # behind the last map
    for name, parameter in body.named_parameters():
        if name not in without:
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (30, 18)])
def test_its_maps_are_those_of_the_users_stages(size: tuple[int, int]) -> None:
    model = randomized(Encoder())
    x = torch.randn(2, 1, *size)
    theirs = maps_of(model, STAGES, x)
    for alpha in (0, 0.25, 0.5, 1):
        body = octnas.convert(model, alpha, input_shape=(1, SIDE, SIDE), features_only=True).eval()
        with torch.no_grad():
            ours = body(x)
        assert [each.shape for each in ours] == [each.shape for each in theirs]
        assert body.feature_channels == (12, 16, 32)
        if alpha == 0:
            assert all(relative(*pair) <= 1e-5 for pair in zip(ours, theirs, strict=True))


def test_of_clips_it_gives_the_maps_of_their_frames() -> None:
    model = randomized(Encoder())
    body = octnas.convert(model, 0.5, input_shape=(1, SIDE, SIDE), features_only=True).eval()
    x = torch.randn(2, 1, 3, SIDE, SIDE)
    with torch.no_grad():
        clips, frames = body(x), [body(x[:, :, i]) for i in range(3)]
    for i, each in enumerate(clips):
        assert relative(each, torch.stack([maps[i] for maps in frames], 2)) <= 1e-6


def test_the_stages_of_a_network_of_clips() -> None:
    model = randomized(torchvision.models.video.r3d_18())
    x, stages = torch.randn(1, 3, 4, 48, 64), ("layer1", "layer2", "layer3", "layer4")
    theirs = maps_of(model, stages, x)
    for alpha in (0, 0.5):
        body = octnas.convert(model, alpha, input_shape=(3, 4, 64, 64), features_only=True).eval()
        with torch.no_grad():
            ours = body(x)
        assert [each.shape for each in ours] == [each.shape for each in theirs]
        if alpha == 0:
            assert all(relative(*pair) <= 1e-5 for pair in zip(ours, theirs, strict=True))


PUBLISHED = {
    "resnet50": ("layer1", "layer2", "layer3", "layer4"),
    "efficientnet_b0": ("features.1", "features.2", "features.3", "features.5", "features.8"),
    "regnet_y_400mf": tuple(f"trunk_output.block{stage}" for stage in (1, 2, 3, 4)),
    "densenet121": (
        "features.transition1.conv",
        "features.transition2.conv",
        "features.transition3.conv",
        "features",
    ),
    "convnext_tiny": ("features.1", "features.3", "features.5", "features.7"),
}
"""Networks of torchvision, each with the modules that end its stages."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_stages_of_published_networks(name: str) -> None:
    model = randomized(getattr(torchvision.models, name)(num_classes=5))
    x, shape = torch.randn(1, 3, 96, 128), (3, 128, 128)
    theirs = maps_of(model, PUBLISHED[name], x)
    if name == "densenet121":
        theirs[-1] = torch.relu(theirs[-1])
    halvings = [128 // each.shape[-1] for each in theirs]
    assert halvings == ([2] if name == "efficientnet_b0" else []) + [4, 8, 16, 32]
    for alpha in (0, 0.5):
        body = octnas.convert(model, alpha, input_shape=shape, features_only=True).eval()
        with torch.no_grad():
            ours = body(x)
        assert [each.shape for each in ours] == [each.shape for each in theirs]
        assert body.feature_channels == tuple(each.shape[1] for each in theirs)
        if alpha == 0:
            assert all(relative(*pair) <= 1e-5 for pair in zip(ours, theirs, strict=True))


class Whole(Encoder):
    """An encoder that returns its maps itself."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        first = self.stage1(self.stem(x))
        second = self.stage2(first)
        return first, second, self.stage3(second)


def test_a_segmentation_network_can_be_converted_as_a_whole() -> None:
    model = randomized(Decoder(Whole(), (12, 16, 32))).eval()
    x = torch.randn(2, 1, 40, 32)
    with torch.no_grad():
        plain, octave = (
            octnas.convert(model, alpha, input_shape=(1, SIDE, SIDE)).eval()(x) for alpha in (0, 0.5)
        )
        assert relative(plain, model(x)) <= 1e-5
    assert octave.shape == plain.shape == (2, len(CLASSES), 40, 32)


def test_an_encoder_that_returns_several_maps_gives_them_as_it_did() -> None:
    model = randomized(Whole()).eval()
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        ours = octnas.convert(model, 0, input_shape=(1, SIDE, SIDE)).eval()(x)
        assert isinstance(ours, tuple)
        assert all(relative(*pair) <= 1e-5 for pair in zip(ours, model(x), strict=True))


def test_a_network_without_stages_has_no_maps_to_return() -> None:
    with pytest.raises(ConversionError, match="Sequential has no layer that could be split, and so no stage"):
        octnas.convert(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), 0.5, features_only=True)
