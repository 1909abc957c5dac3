"""torchvision's weights: found where torch.hub keeps them, downloaded, or asked for by name and address."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torchvision

from octnas.backbones import names
from octnas.errors import RunError
from octnas.train.published import PUBLISHED, published_weights


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: standard error is the test's."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and its address on the loopback interface."""
    (tmp_path / "site").mkdir()
    handler = partial(Quiet, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / "site", f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def published_at(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """In place of torchvision's list: the last address is the default's."""

    class Weights(list[SimpleNamespace]):
        DEFAULT = SimpleNamespace(url=addresses[-1])

    listed = Weights(SimpleNamespace(url=address) for address in addresses)
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: listed)


def test_the_list_is_torchvisions() -> None:
    assert set(PUBLISHED) == set(torchvision.models.list_models()) & set(names())


@pytest.mark.parametrize(
    ("backbone", "file"),
    [
        ("resnet18", "resnet18-f37072fd.pth"),
        ("c2d_resnet50", "resnet50-11ad3fa6.pth"),
        ("c2d_resnet50", "resnet50-0676ba61.pth"),
        ("r3d_18", "r3d_18-b3b3357e.pth"),
    ],
)
def test_a_file_that_was_placed_by_hand_is_found(folder: Path, backbone: str, file: str) -> None:
    folder.mkdir(parents=True)
    (folder / file).touch()
    told: list[str] = []
    assert published_weights(backbone, note=told.append) == folder / file
    assert told == []


def test_a_file_is_downloaded_once(
    folder: Path, site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"weights"
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (site[0] / name).write_bytes(content)
    published_at(monkeypatch, f"{site[1]}/{name}")
    told: list[str] = []
    path = published_weights("resnet18", note=told.append)
    assert path == folder / name
    assert path.read_bytes() == content
    assert told == [f"downloading the weights of resnet18 from {site[1]}/{name}"]
    (site[0] / name).unlink()
    assert published_weights("resnet18", note=told.append) == path
    assert len(told) == 1


def test_where_nothing_can_be_downloaded_the_message_says_what_to_place_where(
    folder: Path, site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    published_at(monkeypatch, f"{site[1]}/resnet18-00000000.pth")
    with pytest.raises(RunError) as error:
        published_weights("resnet18")
    assert str(error.value) == (
        "the weights of resnet18 could not be downloaded (HTTP Error 404: File not found): place "
        f"resnet18-00000000.pth, the file of {site[1]}/resnet18-00000000.pth, in {folder}, or set TORCH_HOME "
        "to a folder that has it in hub/checkpoints"
    )
    assert list(folder.iterdir()) == []


def test_another_content_than_the_published_one_is_not_kept(
    folder: Path, site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (site[0] / "resnet18-00000000.pth").write_bytes(b"an error page")
    published_at(monkeypatch, f"{site[1]}/resnet18-00000000.pth")
    with pytest.raises(RunError, match="invalid hash value"):
        published_weights("resnet18")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("backbone", "words"),
    [("resnet26", "for resnet26"), ("i3d_resnet10", "of resnet10, for i3d_resnet10")],
)
def test_backbones_that_torchvision_has_not_are_told(backbone: str, words: str) -> None:
    message = f"torchvision has no weights {words}: leave it out with --backbone .*resnet18, resnet34"
    with pytest.raises(RunError, match=message):
        published_weights(backbone)
