"""ARCH: a user's factory beside a backbone, a file, and a trial of a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from octnas.architecture import Architecture
from octnas.cli_arch import find_arch
from octnas.errors import ArchitectureError, FactoryError, RunError, UnknownNameError
from octnas.lookup import find_architecture
from octnas.record import RunFolder, SearchHeader
from octnas.space import load_space


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_factory_is_an_architecture_with_its_own_channels_and_classes() -> None:
    found = find_architecture("users_networks:volume", alpha="0.5", downsample="pooled")
    assert found.architecture == Architecture.uniform("users_networks:volume", alpha=0.5, downsample="pooled")
    assert (found.input_shape, found.num_classes) == ((1, 16, 224, 224), 10)
    assert find_architecture("users_networks:own").num_classes == 10
    small = find_architecture("users_networks:named", alpha=0.5, input_size=8)
    assert small.architecture == Architecture.uniform("users_networks:named", alpha=0.5, input_size=8)
    assert small.architecture != find_architecture("users_networks:named", alpha=0.5).architecture


def test_a_search_of_that_name_comes_first() -> None:
    header = SearchHeader(
        name="users_networks",
        space_yaml=load_space("small-2d").to_yaml(),
        budget_gflops=1,
        trials=1,
        seed=0,
        data="glyphs",
    )
    RunFolder.create("users_networks", header).journal.release()
    with pytest.raises(RunError, match="no trial 'named'"):
        find_architecture("users_networks:named")


def test_what_is_nothing_is_said_to_be_a_factory_or_a_trial() -> None:
    with pytest.raises(FactoryError, match="no module 'nowhere'"):
        find_architecture("nowhere:make")
    with pytest.raises(RunError, match="no run named 'nowhere'"):
        find_architecture("nowhere:12")
    with pytest.raises(UnknownNameError, match=r"package\.module:factory"):
        find_architecture("resnet19")


def test_classes_that_a_factory_does_not_take_are_refused() -> None:
    options = {"alpha": None, "downsample": None, "input_": None}
    assert find_arch("users_networks:named", classes=7, **options)[2] == 7
    with pytest.raises(ArchitectureError, match=r"has 10 classes .*but --classes is 7"):
        find_arch("users_networks:own", classes=7, **options)
