"""What the page draws of each architecture, against `octnas.cost`, which finds its low channels by itself."""

from __future__ import annotations

from typing import Any

import pytest
from front_case import result
from page_case import page_of
from searched import splits

from octnas.architecture import Architecture
from octnas.costs import Cost, cost
from octnas.front.page.architectures import drawn_backbones
from octnas.record import TrialRecord, TrialState

CASES = {
    "basic-blocks-pooled": ("resnet18", {"downsample": "pooled"}, (3, 224, 224)),
    "bottlenecks-strided": ("resnet50", {"downsample": "strided"}, (3, 224, 224)),
    "neither-even-nor-square": ("resnet26", {"downsample": "pooled"}, (3, 161, 97)),
    "one-channel": ("resnet18", {"downsample": "pooled"}, (1, 64, 64)),
    "grouped": ("resnext50_32x4d", {"downsample": "pooled"}, (3, 224, 224)),
    "depthwise": ("mobilenet_v1", {"downsample": "pooled"}, (3, 224, 224)),
    "inverted": ("mobilenet_v2", {"downsample": "pooled"}, (3, 224, 224)),
    "excited": ("se_resnet50", {"downsample": "pooled"}, (3, 224, 224)),
    "dense": ("densenet121", {"downsample": "pooled"}, (3, 224, 224)),
    "frame-by-frame": ("c2d_resnet18", {"downsample": "pooled"}, (3, 8, 112, 112)),
    "2d-on-a-clip": ("resnet18", {"downsample": "pooled"}, (3, 5, 64, 64)),
    "3d": ("i3d_resnet18", {"downsample": "strided"}, (3, 8, 112, 112)),
    "3d-odd": ("i3d_resnet50", {"downsample": "pooled"}, (2, 7, 61, 75)),
}


def _record(trial_id: str, architecture: Architecture, found: Cost) -> TrialRecord:
    return TrialRecord(
        id=trial_id,
        architecture=architecture,
        state=TrialState.COMPLETE,
        gflops=found.gflops,
        params=found.params,
        accuracy=0.5,
    )


def _drawn(search: dict[str, Any], place: int) -> dict[str, dict[str, Any]]:
    """The layers of a trial by their names, as the page's code puts them together."""
    trials = search["trials"]
    backbone = search["backbones"][trials["backbone"][place]]
    drawn = {}
    for layer, choice in zip(backbone["layers"], trials["layers"][place], strict=True):
        low, gflops = layer["values"][choice]
        drawn[layer["name"]] = {**layer, "low": low, "gflops": gflops}
    return drawn


@pytest.mark.parametrize(("backbone", "changes", "shape"), CASES.values(), ids=CASES)
def test_layers_are_those_of_the_cost(backbone: str, changes: dict[str, Any], shape: tuple[int, ...]) -> None:
    architectures = [
        *splits(backbone, 4, seed=len(backbone), **changes),
        Architecture.uniform(backbone, alpha=0, **changes),
    ]
    costs = [cost(each, input_shape=shape) for each in architectures]
    records = [
        _record(str(place), each, found)
        for place, (each, found) in enumerate(zip(architectures, costs, strict=True))
    ]
    search = page_of(result(*records, options={"target_input_shape": list(shape)})).search
    assert search["backbones"][0]["input"] == "x".join(map(str, shape))
    for place, (record, found) in enumerate(zip(records, costs, strict=True)):
        drawn = _drawn(search, place)
        convs = {each.name for each in record.architecture.table().convs}
        known = [each for each in found.layers if each.name in convs]
        assert list(drawn) == [each.name for each in known], "in the order of the network"
        for each in known:
            here = drawn[each.name]
            assert here["low"] == each.low
            assert here["channels"] == each.channels
            assert here["stage"] == each.stage
            assert here["gflops"] == pytest.approx(each.macs / 1e9, rel=5e-5)
            assert here["plain"] == pytest.approx(each.plain_macs / 1e9, rel=5e-5)
        others = sum(each.macs for each in found.layers if each.name not in convs) / 1e9
        assert others > 0, "the classifier at least"
        total = sum(each["gflops"] for each in drawn.values()) + others
        assert total == pytest.approx(record.gflops, rel=5e-5)
        assert search["trials"]["gflops"][place] == pytest.approx(total, rel=5e-5)


def test_without_a_shape_in_the_header_the_input_is_the_backbones_own() -> None:
    architecture = Architecture.uniform("i3d_resnet18", alpha="0.25")
    found = cost(architecture)
    search = page_of(result(_record("1", architecture, found))).search
    drawn = _drawn(search, 0)
    assert search["backbones"][0]["input"] == "x".join(map(str, architecture.input_shape()))
    for each in found.layers:
        if each.name in drawn:
            assert drawn[each.name]["gflops"] == pytest.approx(each.macs / 1e9, rel=5e-5)


def test_trials_of_several_backbones_have_each_its_own_layers() -> None:
    kinds = ("resnet34", "i3d_resnet18", "resnet34", "resnet18", "i3d_resnet18")
    architectures = [splits(name, 1, seed=place)[0] for place, name in enumerate(kinds)]
    shape = (3, 4, 64, 64)
    costs = [cost(each, input_shape=shape) for each in architectures]
    pairs = enumerate(zip(architectures, costs, strict=True))
    records = [_record(str(place), each, found) for place, (each, found) in pairs]
    search = page_of(result(*records, options={"target_input_shape": list(shape)})).search
    assert [each["name"] for each in search["backbones"]] == ["resnet34", "i3d_resnet18", "resnet18"]
    assert [each["dims"] for each in search["backbones"]] == [2, 3, 2]
    assert search["trials"]["backbone"] == [0, 1, 0, 2, 1]
    for place, found in enumerate(costs):
        drawn = _drawn(search, place)
        lows = {each.name: each.low for each in found.layers}
        assert {name: each["low"] for name, each in drawn.items()} == {name: lows[name] for name in drawn}


def test_only_what_is_searched_is_said_to_be() -> None:
    (backbone,), _, _ = drawn_backbones([Architecture.uniform("resnet18", alpha="0.5")], result().header)
    told = {each["name"]: each["searched"] for each in backbone.to_dict()["layers"]}
    assert [name for name, searched in told.items() if not searched] == ["conv1"]


def test_equal_pairs_stand_once_whatever_the_number_of_trials() -> None:
    two = [Architecture.uniform("resnet18", alpha=alpha) for alpha in ("0.25", "0.5")]
    (backbone,), of, choices = drawn_backbones(two * 50, result().header)
    assert of == [0] * 100
    assert choices[:2] == choices[98:]
    costs = [{each.name: each for each in cost(one).layers} for one in two]
    layers = backbone.to_dict()["layers"]
    for place, layer in enumerate(layers):
        found = [each[layer["name"]] for each in costs]
        told = [layer["values"][choice[place]][0] for choice in choices[:2]]
        assert told == [each.low for each in found]
        assert len(layer["values"]) <= 2
    assert [len(layer["values"]) for layer in layers[:2]] == [1, 2], "the stem is the same in both"
