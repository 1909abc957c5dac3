"""No user and no password leaves the address that its user gave."""

from __future__ import annotations

import base64

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


def test_a_server_that_lets_nobody_in_is_refused_with_how_to_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")  # no ~/.mlflow/credentials
    for name in ("USERNAME", "PASSWORD", "TOKEN", "AUTH"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    with proxy("http://127.0.0.1:9", login="me:secret") as server:
        with pytest.raises(TrackingError, match="asks for a user and a password: give them in MLFLOW_TRACK"):
            check_store(server.uri)
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
