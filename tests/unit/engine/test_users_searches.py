"""Users' networks in a search: their data, their weights, what workers need, and what reports say."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from octnas import engine
from octnas.architecture import Architecture
from octnas.backbones import family_of
from octnas.engine.checks import load_data
from octnas.engine.initial import check_init
from octnas.engine.inputs import check_networks, network_options
from octnas.engine.process import import_folders, users_folders
from octnas.errors import DataError, RunError
from octnas.front import SearchResult
from octnas.front.report import front_report
from octnas.front.text import result_text
from octnas.nn import build
from octnas.record import SearchHeader, networks
from octnas.space import SearchSpace, parse_space
from octnas.train.pretrained import begins_anew, fitted_state

TEXT = """\
name: mine
description: networks of a user
granularity: stage
alphas: [0, 0.5]
backbones: [{backbones}]
target: {{input_size: 32, channels: {channels}, classes: 10, width: 32, stem: small}}
proxy: {{data: fashion-sample, width: 8, train_images: 64, val_images: 50, steps: 2, evaluations: 2}}
"""


def mine(*backbones: str, channels: int = 1) -> SearchSpace:
    return parse_space(TEXT.format(backbones=", ".join(backbones), channels=channels))


def test_a_network_of_other_classes_or_channels_than_the_data_is_refused_at_the_door() -> None:
    images = load_data(mine("users_networks:named"))
    check_networks(mine("users_networks:named", "resnet18"), images)
    with pytest.raises(DataError, match=r"has 3 channels, but fashion-sample has 1: give .*`in_channels`"):
        check_networks(mine("users_networks:own", channels=3), images)
    with pytest.raises(DataError, match=r"odd has 5 classes, but fashion-sample has 10: .*`num_classes`"):
        check_networks(mine("users_networks:odd", channels=3), images)
    with pytest.raises(DataError, match="give the factory the argument"):
        engine.search(mine("users_networks:own", channels=3), budget_gflops=9, trials=1, name="never")


def test_torchvision_has_no_weights_of_a_users_network() -> None:
    space = mine("resnet18", "users_networks:named")
    with pytest.raises(RunError, match=r"no weights of users_networks:named, a user's network: give a file"):
        check_init("torchvision", space, load_data(space))


def test_workers_find_the_users_module_and_nothing_that_is_installed() -> None:
    family_of("users_networks:named")
    family_of("torchvision.models:squeezenet1_1")
    users = str(Path(sys.modules["users_networks"].__file__ or "").resolve().parent)
    # other tests may have imported networks from folders of theirs
    shipped = users_folders()
    assert users in shipped
    assert not any("site-packages" in folder for folder in shipped)
    folders = import_folders("octnas.engine.evaluate:evaluate")
    assert users in folders
    assert len(folders) == len(set(folders))


def test_a_header_has_the_networks_and_the_reports_how_wide_their_proxies_are() -> None:
    space = mine("users_networks:residual", "users_networks:named", "resnet18")
    options = network_options(space)
    assert options == {
        "networks": networks(space.backbones),
        "proxy_widths": {"users_networks:residual": 16, "users_networks:named": 64},
    }
    assert network_options(mine("resnet18")) == {}
    header = SearchHeader(
        name="mine",
        space_yaml=space.to_yaml(),
        budget_gflops=1.0,
        trials=1,
        seed=0,
        data="fashion-sample",
        options={**options, "input_shape": [1, 32, 32]},
    )
    result = SearchResult(header=header, records=())
    lines = (
        "users_networks:residual: the proxy is 0.25 times as wide and trains at 1x32x32",
        "users_networks:named: the proxy keeps its width and trains at 1x32x32",
    )
    file = io.StringIO()
    Console(width=200, file=file).print(result_text(result))
    assert all(line in file.getvalue() for line in lines)
    assert all(line in front_report(result).note for line in lines)
    assert result.to_dict()["networks"] == [
        {"backbone": "users_networks:residual", "proxy_width": 0.25, "proxy_input": "1x32x32"},
        {"backbone": "users_networks:named", "proxy_width": 1.0, "proxy_input": "1x32x32"},
    ]


def test_a_dry_run_says_it_and_sizes_the_space_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notes: list[str] = []
    space = mine("users_networks:named")
    report = engine.dry_run(space, budget_gflops=9, trials=2, confirm=0, note=notes.append)
    assert notes[0] == "users_networks:named: the proxy keeps its width and trains at 32x32"
    assert report["size"] == space.size() == 4
    assert list(report["estimate"]["training_seconds"]) == ["users_networks:named"]


def test_weights_of_a_users_network_are_fitted_to_other_classes() -> None:
    architecture = Architecture.uniform("users_networks:named", alpha=0.5)
    state = build(Architecture.uniform("users_networks:named", alpha=0), 7, 1).state_dict()
    same, notes = fitted_state(state, architecture, num_classes=7, in_channels=1, name="mine.pt")
    assert notes == []
    assert all(torch.equal(same[key], tensor) for key, tensor in state.items())
    assert not begins_anew(same, architecture)
    fitted, notes = fitted_state(state, architecture, num_classes=10, in_channels=1, name="mine.pt")
    assert notes == ["mine.pt classifies 7 classes, the images have 10: the classifier begins anew, at 0"]
    assert begins_anew(fitted, architecture)
    network = build(architecture, 10, 1)
    network.load_state_dict(fitted)
    assert torch.equal(network.state_dict()["stage1.conv1.weight"], state["stage1.conv1.weight"])
    with pytest.raises(RunError, match=r"weights must fit users_networks:named"):
        fitted_state({"a": torch.zeros(3)}, architecture, num_classes=7, in_channels=1, name="mine.pt")
