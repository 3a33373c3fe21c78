"""WSGI middleware: two headers and a log line for each request, and a panel in development.

app.wsgi_app = DetectionMiddleware(app.wsgi_app, panel=app.debug)      # Flask
application = DetectionMiddleware(application)                         # any WSGI application
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from dal.detection import listeners
from dal.detection.installed import Thresholds
from dal.detection.panel import with_panel
from dal.detection.request import EVERYTHING, Settings, Watched
from dal.errors import UsageError

if TYPE_CHECKING:
    from dal.events import Observer

__all__ = ["DetectionMiddleware"]

Headers = list[tuple[str, str]]
StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class DetectionMiddleware:
    """Watch each request of a WSGI application.

    Args:
        app: The application.
        sample: The share of requests to watch, 0 to 1.
        panel: Add a panel to HTML pages; for development only, as it holds a page back until it is complete.
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

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        watched = self._settings.watch(f"{environ.get('REQUEST_METHOD')} {environ.get('PATH_INFO')}")
        if watched is None:
            return self._app(environ, start_response)
        response = _Response(watched, start_response)
        try:
            body = self._app(environ, response.start)
        except BaseException:
            watched.end("failed")
            raise
        return response.page(body) if response.is_page else _Body(body, watched, response)


class _Response:
    """A response on its way: headers are added when it starts, the panel when an HTML page is complete."""

    def __init__(self, watched: Watched, start_response: StartResponse) -> None:
        self.status = "no response"
        self._watched = watched
        self._start_response = start_response
        self._headers: Headers = []
        self.is_page = False

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Any:
        """Take the status and the headers from the application."""
        self.status, self._headers = status, headers
        known = {name.lower(): value.lower() for name, value in headers}
        page = known.get("content-type", "").startswith("text/html") and "content-encoding" not in known
        self.is_page = self._watched.settings.panel and page
        if self.is_page:
            return _no_write
        more = [*headers, *self._watched.headers()]
        return self._start_response(status, more, exc_info) if exc_info else self._start_response(status, more)

    def page(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Complete a page, add the panel, and send it."""
        try:
            page = with_panel(b"".join(body), self._watched.report)
            kept = [(name, value) for name, value in self._headers if name.lower() != "content-length"]
            self._start_response(self.status, [*kept, ("content-length", str(len(page))), *self._watched.headers()])
            return [page]
        finally:
            _close(body)
            self._watched.end(self.status)


class _Body:
    """The body of a response; the request ends when the server has sent it."""

    def __init__(self, body: Iterable[bytes], watched: Watched, response: _Response) -> None:
        self._body = body
        self._watched = watched
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def __del__(self) -> None:
        # A server closes what it was given; a test client may not.
        self._watched.end(self._response.status)

    def close(self) -> None:
        """End the request."""
        try:
            _close(self._body)
        finally:
            self._watched.end(self._response.status)


def _close(body: Iterable[bytes]) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


def _no_write(data: bytes) -> None:
    raise UsageError("the panel needs a response that is returned, and this application writes it", hint="panel=False")
