from __future__ import annotations

import socket
from pathlib import Path

import pytest

from octnas.errors import TrackingError
from octnas.record.tracking_store import check_store, local_folder, resolve_store, retry_pause


def test_the_store_is_the_argument_or_the_environment_or_a_local_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_store() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker:5000")
    assert resolve_store() == "http://tracker:5000"
    assert resolve_store("sqlite:///mine.db") == "sqlite:///mine.db"


def test_folder_of_a_local_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_folder(f"sqlite:///{tmp_path}/a/x.db") == tmp_path / "a"
    assert local_folder("sqlite:///x.db") == tmp_path
    assert local_folder("http://tracker:5000") is None


def test_a_local_file_is_accepted_and_left_empty(tmp_path: Path) -> None:
    check_store(f"sqlite:///{tmp_path}/new.db")
    assert (tmp_path / "new.db").stat().st_size == 0


def test_a_file_in_a_missing_folder_or_no_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"cannot write the tracking store .*gone/x\.db"):
        check_store(f"sqlite:///{tmp_path}/gone/x.db")
    (tmp_path / "text.db").write_text("not a database, but long enough to be read as one" * 20)
    with pytest.raises(TrackingError, match="file is not a database"):
        check_store(f"sqlite:///{tmp_path}/text.db")


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_server_that_is_not_there_is_refused_and_no_password_is_shown(scheme: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(
        TrackingError, match=f"no tracking server answers at {scheme}://127.0.0.1:{port}"
    ) as caught:
        check_store(f"{scheme}://me:secret@127.0.0.1:{port}/db")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(TrackingError, match="timed out"):
            check_store(f"http://127.0.0.1:{port}", timeout=0.2)


@pytest.mark.parametrize(
    "uri", ["./mlruns", "file:///tmp/mlruns", "ftp://host/x", "http://", "sqlite://x.db"]
)
def test_what_is_no_store_is_refused(uri: str) -> None:
    with pytest.raises(TrackingError):
        check_store(uri)


def test_the_pause_before_another_try_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCTNAS_TRACKING_RETRY_S", raising=False)
    assert retry_pause() == 30
    monkeypatch.setenv("OCTNAS_TRACKING_RETRY_S", "0.5")
    assert retry_pause() == 0.5
    for wrong in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv("OCTNAS_TRACKING_RETRY_S", wrong)
        with pytest.raises(TrackingError, match=f"OCTNAS_TRACKING_RETRY_S.*{wrong}"):
            retry_pause()
