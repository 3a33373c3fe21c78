"""ASGI middleware: two headers and a log line for each request, and a panel in development.

app.add_middleware(DetectionMiddleware, panel=settings.debug)      # FastAPI, Starlette
app = DetectionMiddleware(app)                                     # any ASGI application
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from dal.detection import listeners
from dal.detection.installed import Thresholds
from dal.detection.panel import with_panel
from dal.detection.request import EVERYTHING, Settings, Watched

if TYPE_CHECKING:
    from dal.events import Observer

__all__ = ["DetectionMiddleware"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_LARGEST_PAGE = 4_000_000


class DetectionMiddleware:
    """Watch each HTTP request of an ASGI application.

    Args:
        app: The application.
        sample: The share of requests to watch, 0 to 1.
        panel: Add a panel to HTML pages; for development only.
        observer: Called with a `Detected` for each request that has findings.
        thresholds: From where on a finding is worth telling.

    Raises:
        UsageError: The sample is no share.
    """

    def __init__(
        self,
        app: Application,
        *,
        sample: float = 1.0,
        panel: bool = False,
        observer: Observer | None = None,
        thresholds: Thresholds | None = None,
    ) -> None:
        self._app = app
        self._settings = Settings(sample=sample, panel=panel, observer=observer, thresholds=thresholds or EVERYTHING)
        listeners.hold()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection."""
        watched = self._settings.watch(f"{scope.get('method')} {scope.get('path')}") if scope["type"] == "http" else None
        if watched is None:
            await self._app(scope, receive, send)
            return
        response = _Response(watched, send)
        try:
            await self._app(scope, receive, response.send)
        finally:
            watched.end(response.status)


class _Response:
    """A response on its way: headers are added when it starts, the panel when an HTML page is complete."""

    def __init__(self, watched: Watched, send: Send) -> None:
        self.status: int | str = "no response"
        self._watched = watched
        self._send = send
        self._start: Message | None = None
        self._page = bytearray()

    async def send(self, message: Message) -> None:
        """Pass a message on, changed where needed."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._watched.settings.panel and _is_page(message.get("headers", ())):
                self._start = message
                return
            await self._send_start(message)
        elif message["type"] == "http.response.body" and self._start is not None:
            await self._collect(message)
            return
        if message["type"] != "http.response.start":
            await self._send(message)

    async def _collect(self, message: Message) -> None:
        self._page += message.get("body", b"")
        more = message.get("more_body", False)
        start = self._start
        assert start is not None
        if more and len(self._page) < _LARGEST_PAGE:
            return
        # A page that does not end is sent on as it is.
        page = bytes(self._page) if more else with_panel(bytes(self._page), self._watched.report)
        kept = [(name, value) for name, value in start.get("headers", ()) if name.lower() != b"content-length"]
        if not more:
            kept.append((b"content-length", str(len(page)).encode()))
        self._start = None
        await self._send_start({**start, "headers": kept})
        await self._send({"type": "http.response.body", "body": page, "more_body": more})

    async def _send_start(self, message: Message) -> None:
        added = [(name.encode(), value.encode()) for name, value in self._watched.headers()]
        await self._send({**message, "headers": [*message.get("headers", ()), *added]})


def _is_page(headers: Any) -> bool:
    found = {bytes(name).lower(): bytes(value).lower() for name, value in headers}
    return found.get(b"content-type", b"").startswith(b"text/html") and b"content-encoding" not in found
