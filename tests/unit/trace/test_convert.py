"""A converted network equals the user's at alpha 0, takes its weights at any, and counts as PyTorch does."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import octnas
from octnas.architecture import Architecture
from octnas.backbones import Conv, Elementwise, Plain, Squeeze
from octnas.errors import ArchitectureError, FactoryError
from octnas.nn import ConvertedNetwork, build
from octnas.nn.shared import share
from octnas.trace import convert
from tests.unit.nn.family_case import randomized
from tests.unit.trace.networks import Clips, Mixed, mixed_lows, plain_of, relative

CASES = [(Mixed, (3, 32, 32)), (Clips, (3, 6, 32, 32))]
IDS = ["Mixed", "Clips"]


def _macs(network: nn.Module, shape: tuple[int, ...]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, *shape))
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize(("kind", "shape"), CASES, ids=IDS)
def test_at_alpha_0_it_equals_the_network(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    model = randomized(kind()).eval()
    x = torch.randn(2, *shape)
    assert relative(plain_of(model, shape)(x), model(x)) <= 1e-5


@pytest.mark.parametrize(("kind", "shape"), CASES, ids=IDS)
def test_at_alpha_0_training_equals_the_networks(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    # without dropout, which draws
    model = randomized(kind()).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    ours = plain_of(model, shape)
    assert ours.training
    x, labels = torch.randn(4, *shape), torch.tensor([0, 1, 2, 3])
    for network in (model, ours):
        F.cross_entropy(network(x), labels).backward()
    theirs = dict(model.named_parameters())
    for name, parameter in ours.named_parameters():
        assert relative(parameter.grad, theirs[name].grad) <= 1e-4, name
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(ours.state_dict()[name], buffer)


@pytest.mark.parametrize(("kind", "shape"), CASES, ids=IDS)
@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75, 1])
def test_at_any_alpha_it_takes_the_networks_state_dict(
    kind: type[nn.Module], shape: tuple[int, ...], alpha: float
) -> None:
    model = randomized(kind())
    ours = convert(kind(), alpha, input_shape=shape)
    assert list(ours.state_dict()) == list(model.state_dict())
    ours.load_state_dict(model.state_dict())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=0)
    kind().load_state_dict(ours.state_dict())


@pytest.mark.parametrize(("kind", "shape"), CASES, ids=IDS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_its_cost_is_what_pytorch_counts(kind: type[nn.Module], shape: tuple[int, ...], seed: int) -> None:
    model = kind()
    ours = convert(model, architecture=mixed_lows(plain_of(model, shape), seed), input_shape=shape)
    for size in (shape, (*shape[:-2], 24, 40), (*shape[:-2], 37, 29)):
        cost = octnas.cost(ours.architecture, size)
        assert cost.macs == _macs(ours, size)
        assert sum(layer.macs for layer in cost.layers) == cost.macs
    assert cost.params == sum(parameter.numel() for parameter in model.parameters())
    assert octnas.cost(plain_of(model, shape).architecture, shape).macs == _macs(model, shape)


@pytest.mark.parametrize(
    "name", ["resnet50", "mobilenet_v2", "densenet121", "resnext50_32x4d", "r3d_18", "mc3_18"]
)
def test_a_network_that_we_have_too_becomes_ours(name: str) -> None:
    # The built-in tables are written by hand: an independent reference for every rule of the conversion.
    of = torchvision.models.video if name in ("r3d_18", "mc3_18") else torchvision.models
    model = randomized(getattr(of, name)(num_classes=5)).eval()
    shape = (3, 4, 48, 64) if of is torchvision.models.video else (3, 48, 64)
    ours = convert(model)
    table = Architecture.uniform(name, alpha=0).table(num_classes=5)
    assert [(slot.name, slot.channels, slot.multiple) for slot in ours.table.slots] == [
        (slot.name, slot.channels, slot.multiple) for slot in table.slots
    ]
    mixed = mixed_lows(ours, seed=3)
    reference = build(Architecture(backbone=name, low_channels=mixed.low_channels), num_classes=5).eval()
    reference.load_state_dict(model.state_dict())
    converted = convert(model, architecture=mixed)
    x = torch.randn(2, *shape)
    with torch.no_grad():
        assert relative(converted(x), reference(x)) <= 1e-5
    assert octnas.cost(mixed, shape).macs == octnas.cost(reference.architecture, shape, num_classes=5).macs


def test_a_resnet_has_the_stages_and_blocks_of_ours() -> None:
    ours = convert(torchvision.models.resnet50())
    table = Architecture.uniform("resnet50", alpha=0).table()
    assert [(slot.stage, slot.block) for slot in ours.table.slots] == [
        (slot.stage, slot.block) for slot in table.slots
    ]
    assert ours.table.octave_slots(224) == table.octave_slots(224)
    assert ours.table.octave_slots(96) == table.octave_slots(96)
    half = convert(torchvision.models.resnet50(), 0.5)
    assert half.architecture.low_channels == Architecture.uniform("resnet50", alpha=0.5).low_channels
    assert round(octnas.cost(half.architecture).gflops, 3) == 2.367


def test_a_dilated_layer_of_a_concatenation_by_hand() -> None:
    """The paper's four kernels of a dilated 3x3 over a concatenation, each written out."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 1, bias=False)
            self.a = nn.Conv2d(4, 4, 1, bias=False)
            self.b = nn.Conv2d(4, 2, 1, bias=False)
            self.wide = nn.Conv2d(6, 4, 3, padding=2, dilation=2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.wide(torch.cat((self.a(x), self.b(x)), 1))

    model = Two()
    ours = convert(model, input_shape=(3, 16, 16))
    lows = (1, 1, 2)
    network = convert(
        model, architecture=Architecture(backbone=ours.architecture.backbone, low_channels=lows)
    )
    x = torch.randn(2, 3, 16, 16)
    up = nn.Upsample(scale_factor=2)
    stem = model.stem(x)
    a_high, a_low = F.conv2d(stem, model.a.weight[:3]), F.conv2d(F.avg_pool2d(stem, 2), model.a.weight[3:])
    b_high, b_low = F.conv2d(stem, model.b.weight[:1]), F.conv2d(F.avg_pool2d(stem, 2), model.b.weight[1:])
    high, low = torch.cat((a_high, b_high), 1), torch.cat((a_low, b_low), 1)
    of_high, of_low = [0, 1, 2, 4], [3, 5]  # columns of what is high and of what is low
    weight = model.wide.weight

    def wide(value: Tensor, rows: slice, columns: list[int]) -> Tensor:
        return F.conv2d(value, weight[rows][:, columns], padding=2, dilation=2)

    first, second = slice(0, 2), slice(2, 4)
    out_high = wide(high, first, of_high) + up(wide(low, first, of_low))
    out_low = wide(F.avg_pool2d(high, 2), second, of_high) + wide(low, second, of_low)
    expected = torch.cat((out_high, up(out_low)), 1)
    torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (30, 22)])
def test_it_takes_any_size_that_the_network_takes(size: tuple[int, int]) -> None:
    model = randomized(Mixed())
    ours = convert(model, architecture=mixed_lows(plain_of(model, (3, 32, 32)), 1)).eval()
    assert ours(torch.randn(2, 3, *size)).shape == (2, 10)
    torch.testing.assert_close(
        plain_of(model.eval(), (3, 32, 32))(x := torch.randn(1, 3, *size)), model(x), rtol=1e-4, atol=1e-5
    )


def test_a_2d_network_takes_clips_frame_by_frame() -> None:
    ours = convert(randomized(Mixed()).eval(), 0.5, input_shape=(3, 32, 32))
    clip = torch.randn(2, 3, 5, 32, 32)
    frames = torch.stack([ours(clip[:, :, t]) for t in range(5)]).mean(0)
    torch.testing.assert_close(ours(clip), frames, rtol=1e-4, atol=1e-5)
    one, many = (octnas.cost(ours.architecture, shape).macs for shape in ((3, 32, 32), (3, 5, 32, 32)))
    assert many == 5 * one == _macs(ours, (3, 5, 32, 32))


@pytest.mark.parametrize(("kind", "shape"), CASES, ids=IDS)
def test_a_few_steps_of_training_lower_the_loss(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    ours = convert(kind(), 0.5, input_shape=shape)
    x, labels = torch.randn(8, *shape), torch.arange(8) % 4
    optimiser = torch.optim.Adam(ours.parameters(), 0.01)
    losses = []
    for _ in range(8):
        loss = F.cross_entropy(ours(x), labels)
        optimiser.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in ours.parameters())
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(("kind", "shape"), CASES, ids=IDS)
def test_architectures_share_weights(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    network = plain_of(randomized(kind()), shape)
    architecture = mixed_lows(network, 5)
    twin = share(network, architecture)
    assert isinstance(twin, ConvertedNetwork)
    assert all(mine is other for mine, other in zip(twin.parameters(), network.parameters(), strict=True))
    own = convert(kind(), architecture=architecture, input_shape=shape)
    own.load_state_dict(network.state_dict())
    twin.load_state_dict(network.state_dict())
    x = torch.randn(2, *shape)
    torch.testing.assert_close(twin.eval()(x), own.eval()(x), rtol=0, atol=0)


def test_the_users_network_stays_as_it_was() -> None:
    model = Mixed().train()
    before = copy.deepcopy(model.state_dict())
    ours = convert(model, 0.5, input_shape=(3, 32, 32))
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
    assert type(model.stem[0]) is nn.Conv2d
    assert model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_conversion_draws_no_random_number() -> None:
    model = Mixed()
    torch.manual_seed(0)
    convert(model, 0.5, input_shape=(3, 32, 32))
    after = torch.rand(3)
    torch.manual_seed(0)
    torch.testing.assert_close(after, torch.rand(3), rtol=0, atol=0)


def test_it_is_copied_and_written_like_any_module() -> None:
    ours = convert(randomized(Mixed()), 0.5, input_shape=(3, 32, 32)).eval()
    x = torch.randn(2, 3, 32, 32)
    expected = ours(x)
    torch.testing.assert_close(copy.deepcopy(ours)(x), expected, rtol=0, atol=0)
    torch.testing.assert_close(pickle.loads(pickle.dumps(ours))(x), expected, rtol=0, atol=0)
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    torch.testing.assert_close(torch.load(file, weights_only=False)(x), expected, rtol=0, atol=0)


def test_the_kinds_of_nodes_of_a_network() -> None:
    table = plain_of(Mixed(), (3, 32, 32)).table
    names = {node.name: type(node) for node in table.nodes}
    assert names["branches.gelu"] is Elementwise
    assert names["mean"] is Squeeze
    assert names["classifier"] is Plain
    convs = {node.name: node for node in table.nodes if isinstance(node, Conv)}
    assert convs["branches.wide"].dilation == 2
    assert convs["halved.a.0"].layout == convs["halved.b.0"].layout == 4
    assert convs["halved.proj.0"].shortcut
    assert convs["halved.proj.0"].slot == convs["halved.c.0"].slot
    assert convs["excited.depthwise"].norm == "excited.norm"
    assert convs["excited.depthwise"].activation == "hardswish"
    assert convs["stem.0"].slot is None


def test_an_architecture_of_another_network_is_refused() -> None:
    other = convert(Clips(), 0.5, input_shape=(3, 6, 32, 32)).architecture
    with pytest.raises(ArchitectureError, match=r"of a network like this one, but where this has .*branches"):
        convert(Mixed(), architecture=other, input_shape=(3, 32, 32))
    with pytest.raises(ArchitectureError, match="give `alpha` or `architecture`, not both"):
        convert(Mixed(), 0.5, architecture=other)


def test_a_converted_network_without_a_factory_cannot_be_built_afresh() -> None:
    ours = convert(Mixed(), 0.5, input_shape=(3, 32, 32))
    assert ours.architecture.backbone.startswith("convert:Mixed-")
    with pytest.raises(ArchitectureError, match=r"has no factory .* package\.module:factory can be built"):
        build(ours.architecture)
    with pytest.raises(FactoryError, match="was converted in another process"):
        Architecture.uniform("convert:Mixed-00000000", alpha=0)


def test_low_channels_that_do_not_fit_the_groups_are_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"multiple of the 4 groups at halved\.a\.0 of convert:Mixed"):
        convert(Mixed(width=14), 0.1, input_shape=(3, 32, 32))
