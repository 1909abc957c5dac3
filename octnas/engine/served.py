"""`octnas dashboard`: MLflow's pages of a search, or of all of them, on this machine's loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from octnas.engine.checks import refuse_supernet
from octnas.errors import TrackingError
from octnas.record import RunFolder
from octnas.record.credentials import without_credentials
from octnas.record.links import RunLinks, charts_page, run_page, server_of
from octnas.record.mlflow_client import Connection
from octnas.record.mlflow_server import Server, server
from octnas.record.tracking_store import check_store, local_file, resolve_store
from octnas.record.tracking_values import search_identity

__all__ = ["Dashboard", "dashboard", "dashboard_text", "has_display"]

_EXPERIMENT = "octnas"


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """Pages that are there to be opened.

    `url` is the page meant: a search's front, or the list of all runs. `served` is the server that was
    started for it; None where the store has its own.
    """

    url: str
    store: str
    """Without credentials."""
    search: str | None = None
    run_id: str | None = None
    run_url: str | None = None
    charts_url: str | None = None
    served: Server | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "url": self.url,
            "search": self.search,
            "run_id": self.run_id,
            "run_url": self.run_url,
            "charts_url": self.charts_url,
            "store": self.store,
            "served": self.served is not None,
        }

    def wait(self) -> None:
        """Returns at once where the store has a server of its own, else at Ctrl-C or another asking to end.

        Raises:
            TrackingError: the server ended by itself.
        """
        if self.served is not None:
            with contextlib.suppress(KeyboardInterrupt):
                self.served.wait()


@contextlib.contextmanager
def dashboard(
    name: str | None = None, *, tracking_uri: str | None = None, port: int | None = None
) -> Iterator[Dashboard]:
    """MLflow's pages of the search `name`, or of all, while the block runs.

    A store that is a file or a database gets a server on loopback, which ends with the block, also where the
    process is asked to end by SIGTERM or its terminal goes.

    Args:
        tracking_uri: the store; default the search's, else MLFLOW_TRACKING_URI or ./mlflow.db.
        port: of loopback; default 5000, or any where that is taken.

    Raises:
        RunError: there is no such search.
        TrackingError: there is no store yet, it is out of reach or does not have the search, or the port is
            taken.
    """
    run = None if name is None else RunFolder.open(name)
    if run is not None:
        refuse_supernet(run)
    uri = resolve_store(tracking_uri, None if run is None else run.header.tracking_uri)
    _check(uri, name)
    links = None if run is None else _links(run, uri)
    own = server_of(uri)
    if own is not None:
        yield _pages(own, uri, name, links, None)
        return
    with _ended_by_signals(), server(uri, port) as started:
        yield _pages(started.address, uri, name, links, started)


def dashboard_text(found: Dashboard) -> str:
    """What `dashboard` prints."""
    if found.run_url is None:
        lines = [f"all runs: {found.url}"]
    else:
        lines = [f"the front: {found.url}", f"the run: {found.run_url}", f"its charts: {found.charts_url}"]
    if found.served is not None:
        lines.append(f"MLflow serves {found.store} on this machine alone; Ctrl-C ends it")
    return "\n".join(lines)


def has_display() -> bool:
    """Whether a browser that is opened here would be seen; one in the terminal would take it away."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _check(uri: str, name: str | None) -> None:
    file = local_file(uri)
    if file is not None and not file.exists():
        how = "`octnas search` makes one" if name is None else f"`octnas resume {name}` makes it anew"
        raise TrackingError(f"there is no store {file}: {how}, or name another with --tracking-uri")
    check_store(uri)


def _links(run: RunFolder, uri: str) -> RunLinks:
    """Where the store has the search.

    Raises:
        TrackingError: nowhere.
    """
    kept = RunLinks.of(run)
    if kept is not None and kept.uri == without_credentials(uri):
        return kept
    found = Connection(uri, _EXPERIMENT).found(search_identity(run.header))
    if found is None or found[1] is None:
        raise TrackingError(
            f"the store {without_credentials(uri)} does not have the search {run.name!r}: "
            f"`octnas resume {run.name}` brings it there, or name the store that has it with --tracking-uri"
        )
    return RunLinks(uri=uri, experiment_id=found[0], run_id=found[1])


def _pages(
    address: str, uri: str, name: str | None, links: RunLinks | None, served: Server | None
) -> Dashboard:
    store = without_credentials(uri)
    if name is None or links is None:
        found = Connection(uri, _EXPERIMENT).found({})
        url = f"{address}/" if found is None else run_page(address, found[0])
        return Dashboard(url=url, store=store, served=served)
    here = RunLinks(uri=address, experiment_id=links.experiment_id, run_id=links.run_id)
    return Dashboard(
        url=here.front_page,
        store=store,
        search=name,
        run_id=links.run_id,
        run_url=here.search_page,
        charts_url=charts_page(address, links.experiment_id, name),
        served=served,
    )


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Makes of SIGTERM and SIGHUP what Ctrl-C is, where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
