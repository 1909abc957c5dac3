"""One contract for folders and stores: a file is there whole or not at all, and errors are one line."""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import stores
from upath import UPath

from octnas.errors import RunError
from octnas.storage import (
    Place,
    check_place,
    check_uri,
    is_uri,
    make_folder,
    names_in,
    place,
    put_whole,
    remove,
    remove_tree,
    shown,
)
from octnas.train.files import readable, written_whole


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with stores.s3_store() as uri:
        yield uri


@pytest.fixture(params=["folder", "memory", "s3", "folders"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place of each kind."""
    if request.param == "folder":
        return place(tmp_path / "deep" / "place")
    if request.param == "memory":
        return place(f"memory://{tmp_path.name}")
    if request.param == "s3":
        return place(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a kind that upath has not heard of
        return place(f"folders://{tmp_path}/deep/place")


def write(path: Place, content: bytes) -> None:
    with written_whole(path) as part:
        part.write_bytes(content)


def test_what_is_written_is_read_by_who_finds_the_place_anew(where: Place) -> None:
    path = where / "checkpoints" / "1.pt"
    assert not path.is_file()
    assert names_in(where) == []
    write(path, b"one")
    again = pickle.loads(pickle.dumps(path))
    assert again == path
    assert again.read_bytes() == b"one"
    write(again, b"another")
    assert path.read_bytes() == b"another"
    source = readable(path)
    assert (source.read_bytes() if isinstance(source, Path) else source.read()) == b"another"
    assert names_in(where / "checkpoints") == ["1.pt"]
    assert names_in(where) == ["checkpoints"]


def test_what_is_not_finished_is_not_there(where: Place) -> None:
    path = where / "1.pt"
    write(path, b"whole")

    def half(error: Exception) -> None:
        with written_whole(path) as part:
            part.write_bytes(b"half")
            raise error

    with pytest.raises(KeyError):
        half(KeyError())
    with pytest.raises(RunError, match=r"1\.pt must be writable, but is not: out of paper"):
        half(RuntimeError("out of paper"))
    assert path.read_bytes() == b"whole"
    assert names_in(where) == ["1.pt"], "nothing is left of the others"


def test_writers_of_one_file_do_not_share_a_path(where: Place) -> None:
    path = where / "1.pt"
    with written_whole(path) as one, written_whole(path) as two:
        assert one != two
        one.write_bytes(b"one")
        two.write_bytes(b"two")
    assert path.read_bytes() == b"one", "the inner one was there first"
    assert names_in(where) == ["1.pt"]


def test_files_and_folders_are_removed_whether_they_are_there_or_not(where: Place) -> None:
    write(where / "a" / "1.pt", b"1")
    write(where / "a" / "2.pt", b"2")
    remove(where / "a" / "1.pt")
    remove(where / "a" / "1.pt")
    assert names_in(where / "a") == ["2.pt"]
    remove_tree(where / "a")
    remove_tree(where / "a")
    assert names_in(where / "a") == []


def test_an_upload_that_breaks_off_leaves_the_old_file(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(f"{bucket}/broken/1.pt")
    write(path, b"whole")

    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("the line went dead")

    monkeypatch.setattr(path.fs, "put_file", broken)  # type: ignore[union-attr]
    with pytest.raises(RunError, match="must be writable, but is not: the line went dead"):
        write(path, b"half")
    assert path.read_bytes() == b"whole"


def test_a_move_that_breaks_off_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = place(f"folders://{tmp_path}/store/1.pt")
    assert isinstance(path, UPath)
    write(path, b"whole")
    (tmp_path / "new").write_bytes(b"new")

    def broken(*_: object, **__: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(stores.FoldersOnly, "mv", broken)
    with pytest.raises(OSError, match="no"):
        put_whole(tmp_path / "new", path)
    assert path.read_bytes() == b"whole"
    assert [each.name for each in (tmp_path / "store").iterdir()] == ["1.pt"]


def test_every_text_names_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place("there") == place(tmp_path / "there") == place(f"file://{tmp_path}/there")
    assert place(f"file://{tmp_path}/a%20b") == tmp_path / "a b"
    assert place("~").is_absolute()  # type: ignore[union-attr]
    assert str(place("s3://bucket/octnas/")) == "s3://bucket/octnas"
    assert str(place(str(place("memory://x/y")))) == str(place("memory://x/y"))
    assert is_uri("s3://b")
    assert not is_uri("folder/s3")
    assert shown("plain") == "plain"
    assert shown("s3://key:word@bucket/a?token=x") == "s3://bucket/a"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("warp://x/y", "of a kind that fsspec knows"),
        ("s3:/bucket/x", "two slashes after its scheme"),
        ("s3://", "must name a bucket"),
        ("s3://bucket/../x", r"without '\.\.'"),
        ("s3://[bucket/x", r"without '\.\.'|no credentials"),
        ("ftp://[::1/x", r"one address|no credentials"),
        ("ftp://127.0.0.1:1/x", r"ftp://127\.0\.0\.1:1/x cannot be reached \(Connection refused\)"),
        ("simplecache::s3://bucket/x", "must be one address"),
        ("file://elsewhere/x", "names elsewhere: mount it"),
    ],
)
def test_what_is_no_place_is_refused_in_a_line(text: str, reason: str) -> None:
    with pytest.raises(RunError, match=reason) as caught:
        place(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIA123:hunter2@bucket/x",
        "s3://hunter2@bucket/x",
        "s3://AKIA123:hunter2/x@bucket/y",
        "s3://AKIA123:hun/hunter2@bucket/x",
        "s3://AKIA123:hun?hunter2@bucket/x",
        "s3://AKIA123:hunter2",
        "s3://AKIA123:2024/hunter2",
        "s3://AKIA123:2024/hunter2@bucket/x",
        "simplecache::s3://AKIA123:hunter2/x@bucket/y",
        "abfs://AKIA123:hunter2/x",
        "sftp://AKIA123:hunter2/x",
        "sftp://AKIA123:2024/hunter2@host/x",
        "https://host/x.tar?pwd=hunter2",
        "gs://hunter2@bucket/x",
        "https://user:hunter2@host/x.tar",
        "https://host/x.tar?X-Amz-Signature=hunter2",
        "https://host/x.tar?a=b&access_token=hunter2",
        "abfs://box/x?sig=hunter2",
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(text: str) -> None:
    for refuse in (place, check_uri, check_place):
        several = "::" in text and refuse is not check_uri
        with pytest.raises(RunError, match="be one address" if several else "hold no credentials") as caught:
            refuse(text)
        assert "hunter2" not in str(caught.value)
        assert "AKIA123" not in str(caught.value)
        assert several or "environment" in str(caught.value)


def test_a_slash_too_few_does_not_show_what_follows() -> None:
    with pytest.raises(RunError, match="two slashes") as caught:
        place("s3:/key:hunter2@bucket/x")
    assert "hunter2" not in str(caught.value)


def test_a_user_without_a_password_is_no_secret_where_the_address_needs_one() -> None:
    check_uri("abfs://container@account.dfs.core.windows.net/x")
    check_uri("sftp://me@host:22/x")
    check_uri("s3://bucket/a:b@c")
    check_uri("https://[::1]:8080/x.tar")


@pytest.mark.parametrize(("scheme", "module", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs")])
def test_a_missing_client_is_named_with_its_extra(
    scheme: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    with pytest.raises(RunError, match=rf"{scheme}:// needs a client .*: pip install 'octnas\[{extra}\]'"):
        place(f"{scheme}://bucket/other")


def test_a_good_place_is_left_as_it_was(bucket: str, tmp_path: Path) -> None:
    check_place(tmp_path / "new")
    check_place(f"{bucket}/good")
    assert names_in(tmp_path / "new") == names_in(place(f"{bucket}/good")) == []


def _no_folder(tmp_path: Path, _: pytest.MonkeyPatch) -> str:
    (tmp_path / "file").touch()
    return str(tmp_path / "file" / "x")


def _no_bucket(_: Path, __: pytest.MonkeyPatch) -> str:
    return "s3://nobody-made-this/x"


def _refusing(kind: str) -> Callable[[Path, pytest.MonkeyPatch], str]:
    def text(_: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        where: Any = place(f"{stores.BUCKET}/refused")

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Access Denied")

        monkeypatch.setattr(where.fs, kind, refuse)
        return str(where)

    return text


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (_no_folder, "Not a directory.*: permit it"),
        (_no_bucket, r"bucket does not exist.*AWS_ACCESS_KEY_ID"),
        (_refusing("rm_file"), r"Access Denied\): check the bucket's name and rights"),
        (_refusing("open"), "Access Denied"),
        (lambda *_: "memory://x", "seen by every process"),
    ],
)
def test_a_place_that_will_not_do_is_refused_in_a_line(
    text: Callable[..., str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match=reason) as caught:
        check_place(text(tmp_path, monkeypatch))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_no_credentials_are_told_by_the_variables_that_hold_them(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(RunError, match=r"credentials.*\(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
            check_place(f"{bucket}/x")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


class FileServer(stores.FoldersOnly):
    """Its client knows no options of ours, as sftp's, which hands them to the one below."""

    protocol = "fileserver"

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(str(path).removeprefix("fileserver://"))


fsspec.register_implementation("fileserver", FileServer, clobber=True)


@pytest.mark.filterwarnings("ignore:UPath 'fileserver'")
def test_a_place_with_real_folders_gets_those_that_it_needs(tmp_path: Path) -> None:
    text = f"fileserver://{tmp_path}/new/octnas"
    check_place(text)
    assert names_in(place(text)) == []
    make_folder(place(text) / "run")
    make_folder(place(text) / "run")
    (place(text) / "run" / "octnas-run.json").write_text("{}")
    write(place(text) / "run" / "checkpoints" / "1.pt", b"one")
    assert names_in(place(text) / "run") == ["checkpoints", "octnas-run.json"]
    (tmp_path / "file").touch()
    with pytest.raises(
        RunError, match=r"must be writable.*check its address and your rights there"
    ) as caught:
        check_place(f"fileserver://{tmp_path}/file/x")
    assert "\n" not in str(caught.value)


def test_a_store_that_others_write_to_is_not_remembered() -> None:
    for text in ("s3://bucket/x", "memory://x"):
        assert place(text).fs.storage_options["use_listings_cache"] is False  # type: ignore[union-attr]
