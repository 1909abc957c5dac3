"""Data from elsewhere arrive once a machine, whole, and never outside of their folder."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path

import fsspec
import numpy as np
import pytest
import stores
from PIL import Image

from octnas.data import kind_of, load_data, load_images
from octnas.data.fetched import fetched, files_elsewhere, local_source
from octnas.engine.checks import data_source
from octnas.errors import DataError, RunError
from octnas.storage import place


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with stores.s3_store() as uri:
        yield uri


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OCTNAS_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fetched"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of each of two classes, in `pets/train` and `pets/val`."""
    root = tmp_path_factory.mktemp("source") / "pets"
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 2)):
        for name in ("cat", "döner"):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (10, 12, 3), np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    return root


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def upload(folder: Path, uri: str) -> str:
    where = place(uri)
    for name, content in files_in(folder).items():
        where.fs.pipe_file(f"{where.path}/{name}", content)  # type: ignore[union-attr]
    return uri


def tar(folder: Path, to: Path, *, below: str = "", mode: str = "w") -> Path:
    with tarfile.open(to, mode) as archive:  # type: ignore[call-overload]
        for path in sorted(folder.rglob("*.png")):
            archive.add(path, arcname=below + path.relative_to(folder).as_posix())
    return to


def zipped(folder: Path, to: Path, *, below: str = "") -> Path:
    with zipfile.ZipFile(to, "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, below + path.relative_to(folder).as_posix())
    return to


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_a_folder_by_its_uri_is_the_folder(
    kind: str, folder: Path, tmp_path: Path, request: pytest.FixtureRequest, cache: Path
) -> None:
    base = request.getfixturevalue("bucket") if kind == "s3" else "memory://octnas-tests"
    uri = upload(folder, f"{base}/{tmp_path.name}/pets")
    assert data_source(uri) == uri
    assert kind_of(uri) == "images"
    assert not cache.exists(), "which needs no file of it"
    mine, theirs = load_images(str(folder), size=8), load_data(uri, size=8)
    assert (theirs.name, theirs.classes) == ("pets", ("cat", "döner"))
    assert theirs.fingerprint == mine.fingerprint
    assert files_in(fetched(uri)) == files_in(folder)
    assert len(list(cache.iterdir())) == 1
    assert not list(cache.rglob("*part*"))


@pytest.mark.parametrize("wrapped", ["", "pets-1.0/"])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_an_archive_here_or_elsewhere_is_its_folder(
    suffix: str, wrapped: str, folder: Path, tmp_path: Path, bucket: str
) -> None:
    archive = tmp_path / f"pets{suffix}"
    if suffix == ".zip":
        zipped(folder, archive, below=wrapped)
    else:
        tar(folder, archive, below=wrapped, mode="w:gz" if "gz" in suffix else "w")
    uri = f"{bucket}/{tmp_path.name}/pets{suffix}"
    place(uri).write_bytes(archive.read_bytes())
    expected = load_images(str(folder), size=8)
    for source in (str(archive), uri):
        assert files_in(fetched(source)) == files_in(folder)
        found = load_images(source, size=8)
        assert (found.name, found.fingerprint) == (wrapped.rstrip("/") or "pets", expected.fingerprint)
    assert data_source(str(archive)) == str(archive)


def test_an_archive_that_has_changed_is_another_one(folder: Path, tmp_path: Path) -> None:
    archive = tar(folder, tmp_path / "a.tar")
    assert len(files_in(fetched(str(archive)))) == 12
    tar(folder / "val", archive)
    assert len(files_in(fetched(str(archive)))) == 4


def test_a_file_uri_is_a_folder_of_this_machine(folder: Path, cache: Path) -> None:
    assert local_source(f"file://{folder}") == data_source(f"file://{folder}") == str(folder)
    assert not cache.exists()


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a/../../evil.png"])
def test_an_archive_cannot_write_outside_of_its_folder(
    name: str, suffix: str, tmp_path: Path, cache: Path
) -> None:
    archive = tmp_path / f"bad{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as bad:
            bad.writestr(name, b"evil")
    else:
        with tarfile.open(archive, "w") as bad_tar:
            info = tarfile.TarInfo(name)
            info.size = 4
            bad_tar.addfile(info, io.BytesIO(b"evil"))
    with pytest.raises(DataError, match="names in an archive must stay within it"):
        fetched(str(archive))
    assert not list(tmp_path.rglob("evil*"))
    assert not list(cache.rglob("complete.json"))


def test_a_link_out_of_an_archive_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, "../../.."
        archive.addfile(link)
    with pytest.raises(DataError, match="an archive must be whole and safe"):
        fetched(str(tmp_path / "bad.tar"))


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_a_damaged_archive_is_refused_and_a_whole_one_taken_then(
    suffix: str, folder: Path, tmp_path: Path
) -> None:
    archive = tmp_path / f"a{suffix}"
    whole = (zipped if suffix == ".zip" else tar)(folder, archive).read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="must be whole and safe"):
        fetched(str(archive))
    archive.write_bytes(whole)
    assert files_in(fetched(str(archive))) == files_in(folder)


def test_an_archive_goes_on_from_where_it_was_cut_off(
    folder: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tar(folder, tmp_path / "a.tar").read_bytes()
    uri = f"{bucket}/{tmp_path.name}/a.tar"
    place(uri).write_bytes(content)
    monkeypatch.setattr("octnas.data.fetched._CHUNK", 4096)
    read: list[int] = []

    def cut(after: int) -> Callable[..., bytes]:
        whole = fsspec.spec.AbstractBufferedFile.read

        def part(self: object, length: int = -1) -> bytes:
            if len(read) == after:
                raise ConnectionError("the line went dead")
            found: bytes = whole(self, length)
            read.append(len(found))
            return found

        return part

    with monkeypatch.context() as patch:
        patch.setattr(fsspec.spec.AbstractBufferedFile, "read", cut(3))
        with pytest.raises(DataError, match=r"the line went dead.*the same command goes on"):
            fetched(uri)
    assert sum(read) == 3 * 4096
    with monkeypatch.context() as patch:
        patch.setattr(fsspec.spec.AbstractBufferedFile, "read", cut(10**9))
        assert files_in(fetched(uri)) == files_in(folder)
    assert sum(read) == len(content), "no byte came twice"


def test_another_archive_of_that_name_is_not_gone_on_from(
    folder: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"{bucket}/{tmp_path.name}/a.tar"
    place(uri).write_bytes(b"x" * 20_480)
    with monkeypatch.context() as patch:
        patch.setattr("octnas.data.fetched.unpack", lambda *_: 1 / 0)
        with pytest.raises(DataError):
            fetched(uri)
    place(uri).write_bytes(tar(folder, tmp_path / "a.tar").read_bytes())
    assert files_in(fetched(uri)) == files_in(folder)


def folders_uri(folder: Path) -> str:
    return f"folders://{folder}"


@pytest.mark.filterwarnings("ignore:UPath 'folders'")
def test_a_file_that_arrives_short_is_fetched_anew(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stores.FoldersOnly.get_file
    came: list[str] = []

    def short(self: stores.FoldersOnly, remote: str, local: str, **options: object) -> None:
        came.append(remote)
        whole(self, remote, local, **options)
        if remote.endswith("train/cat/2.png"):
            Path(local).write_bytes(b"short")

    with monkeypatch.context() as patch:
        patch.setattr(stores.FoldersOnly, "get_file", short)
        with pytest.raises(DataError, match=r"must arrive whole, but .*2\.png has \d+ bytes and 5 came"):
            fetched(folders_uri(folder))
    assert not list(cache.rglob("complete.json"))
    there = len([path for path in cache.rglob("*.png") if not path.name.startswith(".")])
    assert there > 0
    again: list[str] = []

    def counted(self: stores.FoldersOnly, remote: str, local: str, **options: object) -> None:
        again.append(remote)
        whole(self, remote, local, **options)

    monkeypatch.setattr(stores.FoldersOnly, "get_file", counted)
    assert files_in(fetched(folders_uri(folder))) == files_in(folder)
    assert len(again) == 12 - there, "what had arrived stays"


WAITS = """
import sys, time, types, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {tests!r})
import octnas, stores

package = sys.modules["octnas.data"] = types.ModuleType("octnas.data")  # without torch, which takes seconds
package.__path__ = [octnas.__path__[0] + "/data"]
from octnas.data.fetched import fetched

whole = stores.FoldersOnly.get_file

def slow(self, remote, local, **options):
    with open({log!r}, "a") as log:
        log.write(remote + chr(10))
    time.sleep(0.1)
    whole(self, remote, local, **options)

stores.FoldersOnly.get_file = slow
print(fetched({uri!r}))
"""


def test_of_many_processes_one_fetches(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = WAITS.format(tests=str(Path(__file__).parents[2]), log=str(log), uri=folders_uri(folder))
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    (found,) = printed
    assert files_in(Path(found)) == files_in(folder)
    assert len(log.read_text().splitlines()) == 12


def test_what_is_there_is_taken_without_a_look(folder: Path, tmp_path: Path, cache: Path) -> None:
    uri = upload(folder, f"memory://{tmp_path.name}/pets")
    found = fetched(uri)
    place(uri).fs.rm(place(uri).path, recursive=True)  # type: ignore[union-attr]
    assert fetched(uri) == found
    home = found.parents[1]
    said = json.loads((home / "complete.json").read_text())
    assert said == {"source": uri, "files": 12, "name": "pets"}
    (home / "complete.json").unlink()
    with pytest.raises(DataError, match=r"has none|cannot fetch"):
        fetched(uri)


@pytest.mark.parametrize(
    ("source", "error", "reason"),
    [
        ("s3://octnas-tests/nothing/here", DataError, "cannot fetch|has none"),
        ("s3://key:hunter2@octnas-tests/pets", RunError, "must hold no credentials"),
        ("warp://x/y", RunError, "of a kind that fsspec knows"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_what_cannot_be_fetched_is_one_line(source: str, error: type[Exception], reason: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=reason) as caught:
            load_data(source)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_names_that_lead_out_of_a_bucket_are_refused(bucket: str, tmp_path: Path) -> None:
    top = f"octnas-tests/{tmp_path.name}"
    fs = place(bucket).fs  # type: ignore[union-attr]
    fs.pipe_file(f"{top}/cat/1.png", b"1")
    fs.pipe_file(f"{top}/cat/../../../evil.png", b"1")
    with pytest.raises(DataError, match=r"names below .* must stay there"):
        fetched(f"s3://{top}")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("name", ["part", "lock", "files", "complete.json", "archive.json", "archive.tar"])
def test_no_name_of_a_source_is_one_of_ours(name: str, folder: Path, tmp_path: Path) -> None:
    uri = f"memory://{tmp_path.name}/{name}"
    if name.endswith(".tar"):
        place(uri).write_bytes(tar(folder, tmp_path / "a.tar").read_bytes())
    else:
        upload(folder, uri)
    for _ in range(2):
        found = fetched(uri)
        assert files_in(found) == files_in(folder)
        assert found.name == name.removesuffix(".tar")
    upload(folder, f"memory://{tmp_path.name}/x/.")
    assert files_in(fetched(f"memory://{tmp_path.name}/x/.")) == files_in(folder)


def test_a_fetch_that_somebody_emptied_is_done_again(folder: Path, tmp_path: Path) -> None:
    uri = f"memory://{tmp_path.name}/wrapped"
    upload(folder, f"{uri}/pets")
    shutil.rmtree(fetched(uri))
    assert files_in(fetched(uri)) == files_in(folder)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_an_archive_that_does_not_unpack_is_fetched_anew(
    suffix: str, folder: Path, tmp_path: Path, bucket: str, cache: Path
) -> None:
    archive, uri = tmp_path / f"a{suffix}", f"{bucket}/{tmp_path.name}/a{suffix}"
    if suffix == ".zip":
        zipped(folder, archive)
    else:
        tar(folder, archive, mode="w:gz" if "gz" in suffix else "w")
    whole = archive.read_bytes()
    fetched_whole = fsspec.spec.AbstractBufferedFile.read
    middle = len(whole) // 2

    def spoilt(self: object, length: int = -1) -> bytes:
        found: bytes = fetched_whole(self, length)
        return found and found[: middle - 512] + bytes(1024) + found[middle + 512 :]

    place(uri).write_bytes(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fsspec.spec.AbstractBufferedFile, "read", spoilt)
        with pytest.raises(DataError, match="must be whole and safe") as caught:
            fetched(uri)
    assert "\n" not in str(caught.value)
    assert not list(cache.rglob("archive.[tz]*"))
    assert files_in(fetched(uri)) == files_in(folder)


def test_an_archive_stays_where_only_the_disk_refuses(
    folder: Path, tmp_path: Path, bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"{bucket}/{tmp_path.name}/a.tar"
    place(uri).write_bytes(tar(folder, tmp_path / "a.tar").read_bytes())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extract", full)
        with pytest.raises(DataError, match="No space left"):
            fetched(uri)
    assert list(cache.rglob("archive.tar"))


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("look", [kind_of, fetched])
def test_a_bucket_that_is_not_there_is_not_called_empty(look: Callable[[str], object]) -> None:
    with pytest.raises(DataError, match=r"cannot fetch .*bucket does not exist.*check its name") as caught:
        look("s3://nobody-made-this/pets")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:UPath 'folders'")
@pytest.mark.parametrize("below", ["pets", "pets/train/cat"])
@pytest.mark.parametrize("look", [lambda uri: list(files_elsewhere(uri) or ()), fetched])
def test_a_folder_that_may_not_be_read_is_not_left_out(
    look: Callable[[str], object], below: str, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stores.FoldersOnly.ls

    def refused(self: stores.FoldersOnly, path: str, **options: object) -> object:
        if path == str(folder.parent / below):
            raise PermissionError(13, "Permission denied")
        return whole(self, path, **options)

    monkeypatch.setattr(stores.FoldersOnly, "ls", refused)
    with pytest.raises(DataError, match=r"cannot fetch .*\(Permission denied\): check .* your credentials"):
        look(folders_uri(folder))
    assert not list(cache.rglob("complete.json"))


@pytest.mark.filterwarnings("ignore:UPath 'folders'")
def test_a_file_server_is_asked_for_one_file_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, connection = stores.FoldersOnly.get_file, threading.Lock()

    def alone(self: stores.FoldersOnly, remote: str, local: str, **options: object) -> None:
        assert connection.acquire(blocking=False), "its client has one connection"
        time.sleep(0.01)
        whole(self, remote, local, **options)
        connection.release()

    monkeypatch.setattr(stores.FoldersOnly, "get_file", alone)
    several = ThreadPool.imap_unordered
    monkeypatch.setattr(
        ThreadPool, "imap_unordered", lambda pool, call, names, **_: several(pool, call, names, chunksize=1)
    )
    assert files_in(fetched(folders_uri(folder))) == files_in(folder)


def test_files_elsewhere_are_named_folder_by_folder(folder: Path, tmp_path: Path) -> None:
    uri = upload(folder, f"memory://{tmp_path.name}/named")
    assert [sorted(files) for files in files_elsewhere(uri) or () if files] == [
        [f"{i}.png" for i in range(count)] for count in (4, 4, 2, 2)
    ]
