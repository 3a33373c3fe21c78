"""A page that shows what comes, live: one small page without anything from elsewhere, on this machine only.

    flow = db.changes(Order, name="live").window(...).to(Dashboard())     # then open dashboard.url

It answers on the loopback interface, only to requests that name it (a page of another site cannot read it), and changes
nothing. It shows the latest items, a bar for each number, and how the flow is doing.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections import deque
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dal.errors import UsageError
from dal.streams.sinks.base import Setting
from dal.streams.sinks.jsoned import json_text

__all__ = ["Dashboard"]

_PAGE = (Path(__file__).parent / "dashboard.html").read_text()


class Dashboard:
    """Shows the latest items on a page of 127.0.0.1; it opens with the flow and closes with it.

    Args:
        port: The port; 0: any that is free, see `url`.
        title: The page's title; by default the stream's name.
        items: How many items are shown.
    """

    def __init__(self, *, port: int = 0, title: str | None = None, items: int = 100) -> None:
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
            raise UsageError(f"port={port!r} is no port", hint="Dashboard(port=8080), or 0 for a free one")
        self._port, self._title = port, title
        self._items: deque[Any] = deque(maxlen=items)
        self._pending: list[Any] = []
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def open(self, setting: Setting) -> None:
        """Start to answer.

        Raises:
            OSError: The port is taken.
        """
        if self._server is not None:
            return
        title = (self._title or setting.stream).replace("&", "&amp;").replace("<", "&lt;")
        page = _PAGE.replace("__TITLE__", title).encode()
        self._server = _Server(("127.0.0.1", self._port), _handler(page, lambda: self._data(setting)))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name=f"dal dashboard {setting.stream}", daemon=True
        )
        self._thread.start()

    def write(self, items: Sequence[Any]) -> None:
        """Take the items, to be shown when their transaction is whole."""
        self._pending.extend(items)
        del self._pending[: -(self._items.maxlen or 1)]

    def commit(self) -> None:
        """Show what was written."""
        self._items.extendleft(self._pending)
        self._pending = []

    def close(self) -> None:
        """Stop to answer."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _data(self, setting: Setting) -> bytes:
        stats = dataclasses.asdict(setting.stats())
        return json_text({"items": [json.loads(json_text(item)) for item in list(self._items)], "stats": stats}).encode()


class _Server(ThreadingHTTPServer):
    """Waits for no request at the end: each is answered in a moment, and its connection closed."""

    daemon_threads = True
    block_on_close = True


def _handler(page: bytes, data: Any) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
            if host not in {"127.0.0.1", "localhost"}:
                self.send_error(403)
            elif self.path == "/":
                self._answer("text/html; charset=utf-8", page)
            elif self.path == "/data":
                self._answer("application/json", data())
            else:
                self.send_error(404)

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    return Handler
