"""A proxy before a tracking server: it asks for a password, and loses the answers that a test wants lost."""

from __future__ import annotations

import base64
import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

__all__ = ["Proxy", "proxy"]

_HOP = {"connection", "transfer-encoding", "content-length", "host", "server", "date"}


class Proxy:
    """What went through (`asked`, as "METHOD PATH"), and whose answers are lost.

    `loses` is asked about each request after the server has done what it says; where it answers True, the
    connection ends without a word. `login` is "user:password", None lets everybody in.
    """

    def __init__(self, target: str, login: str | None) -> None:
        self.target = target
        self.login = login
        self.asked: list[str] = []
        self.lost: list[str] = []
        self.loses: Callable[[str], bool] = lambda request: False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def uri(self) -> str:
        """Without the login."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def proxy(target: str, *, login: str | None = None) -> Iterator[Proxy]:
    """A proxy before the server at `target`, on a free port of 127.0.0.1."""
    made = Proxy(target, login)
    try:
        yield made
    finally:
        made.close()


def _handler(owner: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = f"{self.command} {self.path}"
            if owner.login is not None:
                wanted = "Basic " + base64.b64encode(owner.login.encode()).decode()
                if self.headers.get("Authorization") != wanted:
                    self._answer(401, [("WWW-Authenticate", "Basic")], b"")
                    return
            owner.asked.append(request)
            headers = {key: value for key, value in self.headers.items() if key.lower() not in _HOP}
            connection = http.client.HTTPConnection(urlsplit(owner.target).netloc, timeout=60)
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except OSError:
                self.close_connection = True
                return
            finally:
                connection.close()
            if owner.loses(request):
                owner.lost.append(request)
                self.close_connection = True
                return
            kept = [(key, value) for key, value in answer.getheaders() if key.lower() not in _HOP]
            self._answer(answer.status, kept, content)

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response(status)
            for key, value in headers:
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

    return Handler
