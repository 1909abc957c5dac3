"""A run's folder in a storage is its own, and no name leads out of any folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import stores
from record_case import header

from octnas.errors import RunError
from octnas.record import RunFolder, list_runs
from octnas.storage import Place, names_in, place


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with stores.s3_store() as uri:
        yield uri


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "shared")
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


def create(name: str, storage: str, created: str = "2026-11-30T10:00:00+00:00") -> RunFolder:
    run = RunFolder.create(name, header(name, created=created, options={"storage": storage}))
    run.journal.release()
    return run


def test_weights_lie_in_the_storage_and_go_with_the_run(storage: str, home: Path) -> None:
    run = create("mine", storage)
    for path, where in (
        (run.checkpoint("1"), f"{storage}/mine/checkpoints/1.pt"),
        (run.supernet("resnet18"), f"{storage}/mine/supernets/resnet18.safetensors"),
    ):
        assert str(path) == where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
    again = RunFolder.open("mine")
    assert again.checkpoint("1").read_bytes() == b"weights"
    assert again.path == home / "mine"
    create("other", storage)
    RunFolder.delete("mine")
    assert not (home / "mine").exists()
    assert names_in(place(storage)) == ["other"]


@pytest.mark.filterwarnings("ignore:UPath 'folders'")
def test_a_file_server_gets_the_folders_that_a_run_needs(tmp_path: Path) -> None:
    run = create("mine", f"folders://{tmp_path}/served")
    assert names_in(run.store) == ["octnas-run.json"]
    RunFolder.delete("mine")
    assert not (tmp_path / "served" / "mine").exists()


def test_a_name_that_is_taken_in_the_storage_is_refused(
    storage: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create("mine", storage)
    run.checkpoint("1").write_bytes(b"weights")
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "another"))  # on another machine, say
    taken = (
        r"mine holds files of another search \(octnas-run.json of 'mine', created 2026-11-30T10:00:00"
        r"\+00:00\): take another --name or --storage, or remove it"
    )
    with pytest.raises(RunError, match=taken):
        create("mine", storage)
    assert not (tmp_path / "another" / "mine").exists()
    assert run.checkpoint("1").read_bytes() == b"weights"


@pytest.mark.parametrize("error", [RunError("cannot write: No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("part", ["acquire", "append", "claim"])
def test_a_search_that_fails_at_birth_keeps_no_name(
    part: str, error: BaseException, storage: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from octnas.record import runs

    def fail(*args: object) -> None:
        if part == "claim":
            claim(*args)  # type: ignore[arg-type]
        raise error

    claim = runs.claim
    with monkeypatch.context() as patched:
        patched.setattr(*((runs, part) if part == "claim" else (runs.Journal, part)), fail)
        with pytest.raises(type(error)):
            create("mine", storage)
    assert names_in(home) == []
    assert names_in(place(storage) / "mine") == []
    create("mine", storage)


def test_a_run_that_was_killed_at_birth_is_deleted_with_what_it_claimed(
    storage: str, home: Path, tmp_path: Path
) -> None:
    code = (
        "import os, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from record_case import header\n"
        "from octnas.record import runs\n"
        "real = getattr(runs, 'claim')\n"
        "def claim(*args):\n"
        "    real(*args)\n"
        "    os.kill(os.getpid(), 9)\n"
        "runs.claim = claim\n"
        "runs.RunFolder.create('mine', header('mine', options={'storage': sys.argv[2]}))\n"
    )
    died = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), storage], check=False)
    assert died.returncode == -9
    assert "octnas-run.json" in names_in(place(storage) / "mine")
    RunFolder.delete("mine")
    assert names_in(place(storage)) == []
    create("mine", storage)


def test_of_two_that_claim_a_name_at_once_one_has_it(
    storage: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other writes its file after this one has found the place free."""
    from octnas.record import runs, stored

    claim, other = runs.claim, stored._owner("mine", "2027")

    def beaten(store: Place, name: str, created: str) -> None:
        file = store / "octnas-run.json"
        if isinstance(file, Path):
            file.parent.mkdir(parents=True)
            file.write_text(other)
        else:
            real = type(file).write_text
            patched.setattr(type(file), "write_text", lambda self, text, **more: real(self, other, **more))
        claim(store, name, created)

    with monkeypatch.context() as patched:
        patched.setattr(runs, "claim", beaten)
        with pytest.raises(RunError, match=r"of another search \(octnas-run.json of 'mine', created 2027\)"):
            create("mine", storage)
    assert names_in(home) == []
    assert (place(storage) / "mine" / "octnas-run.json").read_text() == other


def test_a_claim_of_which_a_part_is_written_is_taken_back(tmp_path: Path) -> None:
    from octnas.record import stored

    file = tmp_path / "octnas-run.json"
    with pytest.raises(UnicodeEncodeError):
        stored._write_new(file, "\ud800")
    assert not file.exists()


def test_what_another_run_has_there_is_not_removed(storage: str, home: Path) -> None:
    run = create("mine", storage)
    (run.store / "octnas-run.json").write_text('{"name": "mine", "created": "2025"}')
    RunFolder.delete("mine")
    assert not (home / "mine").exists()
    assert names_in(place(storage) / "mine") == ["octnas-run.json"] or "checkpoints" in names_in(run.store)


def test_a_storage_that_is_gone_does_not_keep_a_run(storage: str, home: Path) -> None:
    run = create("mine", storage)
    (run.store / "octnas-run.json").unlink()
    RunFolder.delete("mine")
    assert not (home / "mine").exists()


def test_a_storage_that_refuses_is_one_line(
    storage: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create("mine", storage)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("octnas.record.stored.remove_tree", refuse)
    with pytest.raises(RunError, match=r"cannot remove .*mine: Permission denied; permit it, or remove"):
        RunFolder.delete("mine")
    assert RunFolder.open("mine").store == run.store
    monkeypatch.setattr("octnas.record.stored.names_in", refuse)
    with pytest.raises(RunError, match=r"cannot read .*new: Permission denied; check --storage"):
        create("new", storage)
    assert [each.name for each in list_runs()] == ["mine"]


def test_a_storage_without_its_client_can_be_listed(home: Path) -> None:
    """Of a run that was made elsewhere."""
    run = RunFolder.create("mine", header("mine"))
    run.journal.release()
    text = run.journal.path.read_text()
    run.journal.path.write_text(text.replace('"options":{', '"options":{"storage":"warp://x/y",'))
    assert [each.name for each in list_runs()] == ["mine"]
    found = RunFolder.open("mine")
    with pytest.raises(RunError, match="of a kind that fsspec knows"):
        found.checkpoint("1")
    with pytest.raises(
        RunError, match=r"of a kind that fsspec knows .*; or remove the run's own folder by hand"
    ):
        RunFolder.delete("mine")
    run.journal.path.write_text(text.replace('"options":{', '"options":[],"was":{'))
    RunFolder.delete("mine")
    assert list_runs() == []


NAMES = [
    "../x",
    "..",
    "a/../b",
    "/etc/x",
    "a\0b",
    "a\n",
    "é",
    "a\\b",
    "~",
    "C:",
    "\u202eb",
    "a\u2215b",
    " a",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leads_out_of_a_folder(name: str, storage: str, home: Path) -> None:
    run = create("mine", storage)
    for act in (
        lambda: create(name, storage),
        lambda: RunFolder.open(name),
        lambda: RunFolder.delete(name),
        lambda: run.checkpoint(name),
        lambda: run.training(name, "full"),
    ):
        with pytest.raises(RunError, match=r"is 1 to 100 letters|is made of letters"):
            act()
    assert names_in(home) == ["mine"]
    assert names_in(place(storage)) == ["mine"]


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "a\\b", "a\0b", ".x", ""])
def test_no_backbone_leads_out_of_a_folder(name: str) -> None:
    run = RunFolder.create("mine", header("mine"))
    run.journal.release()
    with pytest.raises(RunError, match="a backbone's name must be no path"):
        run.supernet(name)
    assert run.supernet("my_net:make").name == "my_net:make.safetensors"


def test_links_in_the_place_of_a_run_or_a_file_are_not_followed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").touch()
    run = RunFolder.create("mine", header("mine"))
    run.journal.release()
    (home / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match="must be no link"):
        RunFolder.delete("link")
    (run.path / "checkpoints" / "out").symlink_to(tmp_path / "precious")
    RunFolder.delete("mine")
    assert (tmp_path / "precious" / "thesis.tex").exists()
