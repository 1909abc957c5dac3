"""docs/own-network.md and docs/tutorial.md as they stand: what their commands and Python print and leave."""

from __future__ import annotations

import re

import pytest
from followed import FOLLOWED
from onnxruntime import InferenceSession
from readers import Reader, squeezed

from octnas.architecture import Architecture

__all__: list[str] = []

pytestmark = pytest.mark.timeout(1500)  # the whole document is followed by the first test of it


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Who followed docs/own-network.md."""
    return followed("docs/own-network.md", tmp_path_factory)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Who followed docs/tutorial.md."""
    return followed("docs/tutorial.md", tmp_path_factory)


def followed(document: str, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    reader = FOLLOWED[document].reader(tmp_path_factory.mktemp("user"))
    reader.follow(document)
    for said in reader.said:
        print(f"{said.seconds:6.1f} s  {said.what.splitlines()[0]}")
    return reader


@pytest.mark.slow
def test_the_converted_network_is_as_the_document_says(place: Reader) -> None:
    shape, gflops, difference, *_ = place.of("mine.load_state_dict").splitlines()
    assert shape == "torch.Size([2, 10])"
    assert float(gflops) == pytest.approx(0.084, abs=5e-4)
    assert float(re.search(r"[\d.]+(e-\d+)?", difference)[0]) < 1e-5  # type: ignore[index]


@pytest.mark.slow
def test_the_search_finds_and_exports_a_network_of_the_users(place: Reader) -> None:
    assert "the proxy is 0.25 times as wide" in squeezed(place.of("front clothes"))
    assert (place.path / "front.html").is_file()
    assert "validation images" in place.of("train clothes")
    card = (place.path / "my-model" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# mynet:make with octave convolutions")
    architecture = Architecture.from_json((place.path / "my-model" / "architecture.json").read_text())
    assert (architecture.backbone, architecture.width) == ("mynet:make", 16)
    assert any(architecture.low_channels)


@pytest.mark.slow
def test_the_exported_file_classifies(place: Reader) -> None:
    session = InferenceSession(place.path / "my-model" / "model.onnx", providers=["CPUExecutionProvider"])
    assert [each.shape[1:] for each in session.get_inputs()] == [[1, 32, 32]]
    assert [each.shape[1:] for each in session.get_outputs()] == [[10]]
    assert len(eval(place.of("onnxruntime"))) == 3


@pytest.mark.slow
def test_the_users_networks_are_in_one_space_with_ours(place: Reader) -> None:
    assert within(place.of("both.yaml")) == {"mynet:make", "mynet:lean", "resnet18"}
    assert within(place.of("--backbone resnet18")) == {"mynet:make", "resnet18"}


def within(printed: str) -> set[str]:
    """The backbones that are within the budget of a dry run."""
    found = re.search(r"backbones within it (.*?) yardsticks", squeezed(printed))
    assert found is not None
    return set(found[1].split(", "))


@pytest.mark.slow
def test_what_is_marked_is_listed_and_the_encoder_has_three_stages(place: Reader) -> None:
    assert "'what': 'Dimmed'" in place.of("Dimmed")
    channels, shape = place.of("features_only").splitlines()
    assert channels.endswith("(64, 128, 256)")
    assert shape == "torch.Size([2, 4, 64, 64])"


def test_the_first_search_is_as_the_tutorial_says(first: Reader) -> None:
    assert "yardsticks" in first.of("--dry-run")
    assert '"architecture"' not in first.of("octnas front first")
    assert "first" in first.of("octnas list")
    assert (first.path / "front.html").stat().st_size > 10_000


def test_the_first_export_is_whole(first: Reader) -> None:
    files = {path.name for path in (first.path / "my-model").iterdir()}
    assert {"model.onnx", "model.pt2", "weights.safetensors", "README.md", "classes.json"} <= files
    assert len(eval(first.of("onnxruntime"))) == 3


def test_the_first_search_is_deleted_in_the_end(first: Reader) -> None:
    assert not (first.path / "octnas-runs" / "first").exists()
