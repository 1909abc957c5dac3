"""Users' code reaches a process that has none of their files."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from octnas.engine import shipped
from octnas.engine.process import users_folders
from octnas.engine.shipped import users_sources
from octnas.errors import RunError
from octnas.trace import importing

NETWORK = """
from theirs_pkg.parts import layer
from theirs_helper import CLASSES
from torch import nn

def make(num_classes=CLASSES, in_channels=3):
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
    return nn.Sequential(layer(in_channels, 8), layer(8, 8), *head)
"""
PARTS = """
from torch import nn

def layer(inputs, outputs):
    from theirs_pkg.inner.later import Activation
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), Activation())
"""
USES = """
import pickle, sys
from octnas.architecture import Architecture
from octnas.engine.shipped import receive

sources = pickle.load(open(sys.argv[1], "rb"))
receive(sources)
receive(dict(sources))
assert sum(type(each).__name__ == "_InMemory" for each in sys.meta_path) == 1
slots = len(Architecture.uniform("theirs_net:make", alpha=0.5).low_channels)
print(slots, sys.modules["theirs_net"].__file__)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "theirs_net.py": NETWORK,
        "theirs_helper.py": "CLASSES = 7\n",
        "theirs_pkg/__init__.py": "",
        "theirs_pkg/parts.py": PARTS,
        "theirs_pkg/inner/later.py": "from torch.nn import ReLU as Activation\n",
        "unrelated.py": "raise RuntimeError('not imported')\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(importing, "_modules", [])
    importing.imported("theirs_net:make")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("theirs_")]:
        del sys.modules[name]


def test_what_the_network_is_made_of_is_shipped_and_nothing_else(folder: Path) -> None:
    assert users_folders() == [str(folder)]
    assert sorted(users_sources()) == [
        "theirs_helper.py",
        "theirs_net.py",
        "theirs_pkg/__init__.py",
        "theirs_pkg/inner/later.py",
        "theirs_pkg/parts.py",
    ]


def test_a_process_without_the_files_imports_them(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "sources").write_bytes(pickle.dumps(users_sources()))
    command = [sys.executable, "-c", USES, str(elsewhere / "sources")]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # the second layer may be split; the first reads the image
    assert done.stdout.split() == ["1", "theirs_net.py"]


def test_files_that_a_worker_has_come_before_what_was_shipped(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "sources").write_bytes(pickle.dumps(users_sources()))
    command = [sys.executable, "-c", USES, str(elsewhere / "sources")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", str(folder / "theirs_net.py")]


def test_what_is_too_much_to_be_code_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "MOST_MB", 0)
    with pytest.raises(RunError, match="may be 0 MB"):
        users_sources()


def test_nothing_is_shipped_without_a_users_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_modules", [])
    assert users_sources() == {}
