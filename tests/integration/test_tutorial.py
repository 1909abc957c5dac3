"""docs/own-network.md as it stands: its files, its commands and its Python, in its order, in one folder."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from onnxruntime import InferenceSession

from octnas.architecture import Architecture

pytestmark = pytest.mark.timeout(1500)  # the whole document is followed by the first test

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "own-network.md"
SMALLER = {
    "steps: 400": "steps: 12",
    "--trials 12": "--trials 2 --confirm 0",
    "--scale full": "--scale proxy",
    "0.12 --dry-run": "0.12 --dry-run --no-estimate",
}
"""What is changed, so that the search takes a moment: each stands in the document once or more."""
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Place:
    """The folder, and what each block of the document printed there."""

    path: Path
    printed: list[tuple[str, str]] = field(default_factory=list)
    """A command or a block of Python, and its standard output."""

    def of(self, part: str) -> str:
        """What the command or the block printed in which `part` is."""
        (found,) = [printed for text, printed in self.printed if part in text]
        return found


def run(command: str, folder: Path) -> str:
    """A command of octnas as a user types it, without settings of theirs, on one thread."""
    program, *arguments = shlex.split(command, comments=True)
    assert program == "octnas"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OCTNAS_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, "-m", "octnas", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("user"))
    text = DOCUMENT.read_text(encoding="utf-8")
    for old, new in SMALLER.items():
        assert old in text
        text = text.replace(old, new)
    before = Path.cwd()
    os.chdir(place.path)
    sys.path.insert(0, str(place.path))
    try:
        for language, block in BLOCK.findall(text):
            follow(language, block, place)
        yield place
    finally:
        sys.path.remove(str(place.path))
        os.chdir(before)


def follow(language: str, block: str, place: Place) -> None:
    """Does what a reader does with a block."""
    match language:
        case "python" if block.startswith("import torch\nfrom torch import nn\n"):
            (place.path / "mynet.py").write_text(block, encoding="utf-8")
        case "python" if block.startswith("def "):
            with (place.path / "mynet.py").open("a", encoding="utf-8") as file:
                file.write("\n\n" + block)
        case "python":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(block, str(DOCUMENT), "exec"), {"__name__": "__main__"})
            place.printed.append((block, printed.getvalue()))
        case "yaml":
            name = re.search(r"^name: (\S+)$", block, re.MULTILINE)
            assert name is not None
            (place.path / f"{name[1]}.yaml").write_text(block, encoding="utf-8")
        case "sh":
            for line in block.splitlines():
                place.printed.append((line, run(line, place.path)))
        case "text":  # an excerpt of what the last command printed
            printed_lines = {squeezed(line) for line in place.printed[-1][1].splitlines()}
            for line in block.splitlines():
                assert squeezed(line) in printed_lines
        case _:
            raise AssertionError(f"the document has a block of {language}")


def squeezed(line: str) -> str:
    """Text with single spaces, as tables and wrapped lines have it in different ways."""
    return " ".join(line.split())


def test_the_converted_network_is_as_the_document_says(place: Place) -> None:
    shape, gflops, difference, *_ = place.of("mine.load_state_dict").splitlines()
    assert shape == "torch.Size([2, 10])"
    assert float(gflops) == pytest.approx(0.084, abs=5e-4)
    assert float(re.search(r"[\d.]+(e-\d+)?", difference)[0]) < 1e-5  # type: ignore[index]


def test_the_search_finds_and_exports_a_network_of_the_users(place: Place) -> None:
    assert "the proxy is 0.25 times as wide" in squeezed(place.of("front clothes"))
    assert (place.path / "front.html").is_file()
    assert "validation images" in place.of("train clothes")
    card = (place.path / "my-model" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# mynet:make with octave convolutions")
    architecture = Architecture.from_json((place.path / "my-model" / "architecture.json").read_text())
    assert (architecture.backbone, architecture.width) == ("mynet:make", 16)
    assert any(architecture.low_channels)


def test_the_exported_file_classifies(place: Place) -> None:
    session = InferenceSession(place.path / "my-model" / "model.onnx", providers=["CPUExecutionProvider"])
    assert [each.shape[1:] for each in session.get_inputs()] == [[1, 32, 32]]
    assert [each.shape[1:] for each in session.get_outputs()] == [[10]]
    assert len(eval(place.of("onnxruntime"))) == 3


def test_the_users_networks_are_in_one_space_with_ours(place: Place) -> None:
    assert within(place.of("both.yaml")) == {"mynet:make", "mynet:lean", "resnet18"}
    assert within(place.of("--backbone resnet18")) == {"mynet:make", "resnet18"}


def within(printed: str) -> set[str]:
    """The backbones that are within the budget of a dry run."""
    found = re.search(r"backbones within it (.*?) yardsticks", squeezed(printed))
    assert found is not None
    return set(found[1].split(", "))


def test_what_is_marked_is_listed_and_the_encoder_has_three_stages(place: Place) -> None:
    assert "'what': 'Dimmed'" in place.of("Dimmed")
    channels, shape = place.of("features_only").splitlines()
    assert channels.endswith("(64, 128, 256)")
    assert shape == "torch.Size([2, 4, 64, 64])"
