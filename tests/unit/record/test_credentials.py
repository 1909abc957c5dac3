"""No user and no password leaves the address that its user gave."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tracking_proxy import proxy

from octnas.errors import TrackingError
from octnas.record.credentials import authorization, hidden, without_credentials
from octnas.record.mlflow_client import Connection
from octnas.record.tracking_store import check_store, resolve_store

SHOWN = {
    "postgresql://me:secret@db:5432/x": "postgresql://db:5432/x",
    "postgresql+psycopg://db/x?user=me&password=secret&sslmode=require": "postgresql+psycopg://db/x?sslmode=require",
    "postgresql:///x?password=se@cret": "postgresql:///x",
    "postgresql://me:s@/secret@db/x": "postgresql://db/x",
    "postgresql+psycopg://db/x?user=me@srv&password=secret": "postgresql+psycopg://db/x",
    "postgresql+psycopg://db:5433/x?user=me&password=s@cret": "postgresql+psycopg://db:5433/x",
    "postgresql://h1:5432,h2:5432/x?user=me@srv&password=secret": "postgresql://h1:5432,h2:5432/x",
    "postgresql://me:se?cret@db/x?user=me": "postgresql://db/x",
    "postgresql://me:se?cret@db/x": "postgresql://db/x",
    "postgresql://me:s:e?cret@db&password=secret": "postgresql://db",
    "postgresql://db/x?sslkey=/k.pem&sslpassword=secret": "postgresql://db/x?sslkey=/k.pem",
    "mssql+pyodbc:///?odbc_connect=SERVER%3Ddb%3BUID%3Dme%3BPWD%3Dsecret": "mssql+pyodbc:///",
    "mysql://db/x?ssl_ca=a&ssl_key=b&uid=me": "mysql://db/x?ssl_ca=a&ssl_key=b",
    "http://me:2024/secret@tracker": "http://tracker",
    "http://me:/secret@tracker": "http://tracker",
    "http://me:a]/secret@tracker": "http://tracker",
    "http://me:se#cr/et@tracker:5000": "http://tracker:5000",
    "http://me:secret@tracker:5000/a@b": "http://tracker:5000/a%40b",
    "http://tracker:5000/a%40b": "http://tracker:5000/a%40b",
    "databricks://scope:prefix": "databricks://scope:prefix",
    "http://me:se%40cret@tracker:5000/base": "http://tracker:5000/base",
    "http://me:se/cret@tracker": "http://tracker",
    "https://me@tracker/a@b": "https://tracker/a@b",
    "https://tracker:443/a@b": "https://tracker:443/a@b",
    "http://[::1]:5000": "http://[::1]:5000",
    "sqlite:////data/a@b.db": "sqlite:////data/a@b.db",
    "databricks": "databricks",
}


@pytest.mark.parametrize("uri", SHOWN)
def test_an_address_is_shown_without_who_logs_in(uri: str) -> None:
    assert without_credentials(uri) == SHOWN[uri]
    assert without_credentials(SHOWN[uri]) == SHOWN[uri]


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("postgresql://me:secret@db/x", "could not connect: postgresql://me:secret@db/x"),
        ("postgresql://me:secret@db/x", "FATAL: password 'secret' is wrong"),
        ("http://me:sec%21ret@tracker", "401 for me:sec!ret@tracker"),
        ("http://me:sec%21ret@tracker", "API request to http://me:sec%21ret@tracker/api failed"),
        ("postgresql:///x?password=secret", "invalid DSN password=secret"),
        ("postgresql://db/x?user=me@srv&password=secret", "password 'secret' is wrong"),
        ("http://me:secret/x@tracker", "nonnumeric port: 'secret'"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dsecret", "the password secret is wrong"),
    ],
)
def test_a_text_that_quotes_the_address_hides_them(uri: str, text: str) -> None:
    shown = hidden(text, uri)
    assert not {"secret", "sec!ret", "sec%21ret"} & {
        word for word in ("secret", "sec!ret", "sec%21ret") if word in shown
    }
    assert "..." in shown
    assert hidden("a text about something else", uri) == "a text about something else"


def test_a_search_that_is_taken_up_again_has_the_credentials_of_the_same_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded, full = "http://tracker:5000/base", "http://me:secret@tracker:5000/base"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_store(None, recorded) == recorded
    monkeypatch.setenv("MLFLOW_TRACKING_URI", full)
    assert resolve_store(None, recorded) == full
    assert resolve_store("sqlite:///x.db", recorded) == "sqlite:///x.db"
    for other in ("http://me:secret@tracker:5001/base", "http://me:secret@elsewhere:5000/base"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
        assert resolve_store(None, recorded) == recorded


def test_a_server_is_asked_with_what_the_address_or_the_variables_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    assert authorization("http://tracker") is None
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    assert authorization("http://tracker") == "Bearer t0ken"
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "you")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hidden")
    assert authorization("http://tracker") == "Basic " + base64.b64encode(b"you:hidden").decode()
    assert authorization("http://me:p%40ss@tracker") == "Basic " + base64.b64encode(b"me:p@ss").decode()


class _Store(BaseHTTPRequestHandler):
    """An experiment, or a refusal of whoever did not ask for 127.0.0.1 in person."""

    admits = True

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        found = {"experiment_id": "7", "name": "octnas", "lifecycle_stage": "active"}
        text = json.dumps({"experiment": found})
        if not self.admits and self.path != "/health":
            text = "Invalid Host header - possible DNS rebinding attack detected"
        self.send_response(200 if self.admits or self.path == "/health" else 403)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A server's address, where nobody has credentials of any kind."""
    for name in ("USERNAME", "PASSWORD", "TOKEN", "AUTH"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(_Store, "admits", True)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Store) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_server_whose_password_is_in_netrc_is_left_to_mlflow(store: str, tmp_path: Path) -> None:
    with proxy(store, login="me:secret") as door:
        with pytest.raises(TrackingError, match="asks for a user and a password"):
            Connection(door.uri, "octnas")
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
        connection = Connection(door.uri, "octnas")
        assert connection.done(lambda runs: runs.experiment_id) == "7"
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password wr0ng\n")
        with pytest.raises(TrackingError, match="asks for a user and a password") as caught:
            Connection(door.uri, "octnas")
        assert "\n" not in str(caught.value)
        assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("login", ["", "me:secret@"])
def test_a_server_that_does_not_admit_its_name_is_told_as_that(
    store: str, login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, host = store.replace("://", f"://{login}"), store.removeprefix("http://")
    connection = Connection(uri, "octnas")
    monkeypatch.setattr(_Store, "admits", False)
    for refused in (lambda: check_store(uri), lambda: connection.done(lambda runs: None)):
        with pytest.raises(TrackingError) as caught:
            refused()
        assert str(caught.value) == (
            f"the tracking server {store} admits no requests to {host} (Invalid Host header): start it with "
            f"`mlflow server --allowed-hosts {host}` (several are separated by commas)"
        )


def test_a_server_that_lets_nobody_in_is_refused_with_how_to_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")  # no ~/.mlflow/credentials
    for name in ("USERNAME", "PASSWORD", "TOKEN", "AUTH"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    with proxy("http://127.0.0.1:9", login="me:secret") as server:
        assert not check_store(server.uri), "MLflow is asked"
        with pytest.raises(TrackingError, match="asks for a user and a password: give them in MLFLOW_TRACK"):
            Connection(server.uri, "octnas")
        with pytest.raises(TrackingError, match="refuses this user or password") as caught:
            Connection(server.uri.replace("://", "://me:wr0ng@"), "octnas")
        assert "wr0ng" not in str(caught.value)
        assert "\n" not in str(caught.value)
        connection = Connection(server.uri.replace("://", "://me:secret@"), "octnas")
        assert connection.uri == server.uri
        monkeypatch.setattr("octnas.record.mlflow_client._PAUSES", ())
        with pytest.raises(TrackingError) as caught:
            connection.done(lambda runs: None)
        assert "secret" not in str(caught.value)
        assert caught.value.away
