"""What a frame of the stack is: the application's own, a template's, a library's, or one that says where a walk ends.

The file decides, once for each; from then on it is one look-up.
"""

from __future__ import annotations

import os
import sysconfig
from types import FrameType

import sqlalchemy

__all__ = [
    "APPLICATION",
    "LIBRARY",
    "REPOSITORY",
    "REQUEST",
    "REQUEST_FUNCTIONS",
    "SESSION",
    "STOP",
    "TEMPLATE",
    "WEB",
    "WORKER",
    "kind_of",
    "known",
]

LIBRARY, APPLICATION, TEMPLATE, SESSION, STOP, WORKER, REQUEST, REPOSITORY, WEB = range(9)

REQUEST_FUNCTIONS = frozenset({"__call__", "wsgi_app", "get_response", "get_response_async", "trace_task"})
"""The functions of frameworks that serve one request, in the files that are `REQUEST`."""

known: dict[str, int] = {}
"""Kinds by file name; templates are not among them, as their names may be anybody's."""

_MOST_FILES = 10_000
_SPECIAL = {
    os.path.join("sqlalchemy", "orm", "session.py"): SESSION,
    os.path.join("asyncio", "events.py"): STOP,
    os.path.join("asyncio", "base_events.py"): STOP,
    os.path.join("pluggy", "_callers.py"): STOP,
    "threading.py": STOP,
    os.path.join("concurrent", "futures", "thread.py"): STOP,
    os.path.join("anyio", "_backends", "_asyncio.py"): WORKER,
    os.path.join("anyio", "_backends", "_trio.py"): WORKER,
    os.path.join("starlette", "applications.py"): REQUEST,
    os.path.join("flask", "app.py"): REQUEST,
    os.path.join("django", "core", "handlers", "base.py"): REQUEST,
    os.path.join("litestar", "app.py"): REQUEST,
    os.path.join("celery", "app", "trace.py"): REQUEST,
}
_WEB_PACKAGES = tuple(f"{os.sep}{name}{os.sep}" for name in ("starlette", "fastapi", "litestar"))
_DAL = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _library_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = {os.path.abspath(paths[key]) + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib") if key in paths}
    # SQLAlchemy is a library wherever it lies: `pip install --target` puts it beside the application.
    return (*sorted(found), _DAL + os.sep, os.path.dirname(os.path.abspath(sqlalchemy.__file__)) + os.sep)


_ROOTS = _library_roots()
_EXAMPLES = (os.path.join(_DAL, "demo") + os.sep, os.path.join(_DAL, "cli") + os.sep)
_REPOSITORIES = (os.path.join(_DAL, "repository") + os.sep, os.path.join(_DAL, "asyncio", "repository"))
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def kind_of(frame: FrameType) -> int:
    """Say what kind of file a frame belongs to, and remember it.

    Args:
        frame: Any frame.

    Returns:
        One of the kinds above.

    Example:
        >>> import sys
        >>> kind_of(sys._getframe()) in range(9)
        True
    """
    filename = frame.f_code.co_filename
    if frame.f_globals.get("__jinja_template__") is not None:
        return TEMPLATE
    kind = known.get(filename)
    if kind is None:
        library = filename.startswith("<") and not filename.startswith("<stdin")
        kind = LIBRARY if library else _kind_of_path(os.path.abspath(filename))
        if len(known) > _MOST_FILES:
            known.clear()
        known[filename] = kind
    return kind


def _kind_of_path(path: str) -> int:
    if path.startswith(_REPOSITORIES):
        return REPOSITORY
    if path.startswith(_EXAMPLES):
        return APPLICATION
    if not path.startswith(_ROOTS) and not any(part in path for part in _PACKAGES):
        return APPLICATION
    for ending, special in _SPECIAL.items():
        if path.endswith(os.sep + ending):
            return special
    return WEB if any(part in path for part in _WEB_PACKAGES) else LIBRARY
