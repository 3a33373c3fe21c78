"""Which line of the application borrowed: the first frame outside dal and SQLAlchemy.

Taken at every borrow, so it costs a fraction of a microsecond: code object and offset are kept, the line number is worked out
only when somebody wants to read it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from types import CodeType, FrameType

import sqlalchemy

__all__ = ["Site", "is_running", "shown", "site"]

_GENERATED = "<sqlalchemy"
_LIBRARIES = (
    _GENERATED,
    *(str(Path(file).resolve().parents[up]) + os.sep for file, up in ((str(sqlalchemy.__file__), 0), (__file__, 1))),
)
_FILES = frozenset({contextlib.__file__})
_internal: dict[str, bool] = {}


Site = tuple[CodeType, int, int]
"""A place in a running function: its code, the offset in it, and the identity of its frame."""


def site(depth: int, outer: FrameType | None = None) -> Site:
    """Find the line of the application that called.

    Args:
        depth: How many frames up to start: 0 is the caller.
        outer: Where to go on when the stack ends: a greenlet's stack ends where the coroutine's goes on.

    Returns:
        The first frame outside dal, SQLAlchemy and contextlib, or the outermost one.
    """
    try:
        frame = sys._getframe(depth + 1)
    except ValueError:
        frame = sys._getframe(1)
    while True:
        code = frame.f_code
        inside = _internal.get(code.co_filename)
        if inside is None:
            inside = _classify(code.co_filename)
        if inside:
            above = frame.f_back
            if above is None:
                above, outer = outer, None
            if above is not None:
                frame = above
                continue
        return code, frame.f_lasti, id(frame)


def shown(place: Site | None) -> str:
    """Write a site as `app/views.py:28 in page`."""
    if place is None:
        return "an unknown line"
    code, offset, _ = place
    lines = (number for start, end, number in code.co_lines() if start <= offset < end and number is not None)
    return f"{_short(code.co_filename)}:{next(lines, code.co_firstlineno)} in {code.co_name}"


def is_running(place: Site, frame: FrameType | None) -> bool:
    """Tell whether the function that `place` is in still runs somewhere up the stack of `frame`."""
    while frame is not None:
        if id(frame) == place[2] and frame.f_code is place[0]:
            return True
        frame = frame.f_back
    return False


def _classify(name: str) -> bool:
    found = _internal[name] = name.startswith(_LIBRARIES) or name in _FILES
    return found


def _short(path: str) -> str:
    with contextlib.suppress(ValueError):
        relative = os.path.relpath(path)
        if not relative.startswith(os.pardir):
            return relative
    return path
