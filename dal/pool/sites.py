"""Which line of the application borrowed: the first frame outside dal and SQLAlchemy.

Taken at every borrow, so it costs a fraction of a microsecond: code object and offset are kept, the line number is worked out
only when somebody wants to read it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

import sqlalchemy

__all__ = ["Site", "is_running", "site"]

_GENERATED = "<sqlalchemy"
_LIBRARIES = (_GENERATED, *(str(Path(file).resolve().parents[up]) + os.sep for file, up in ((str(sqlalchemy.__file__), 0), (__file__, 1))))
_FILES = frozenset({contextlib.__file__})
_internal: dict[str, bool] = {}


class Site(NamedTuple):
    """A place in a running function."""

    code: CodeType
    offset: int
    frame: int

    def __str__(self) -> str:
        line = self.code.co_firstlineno
        for start, end, number in self.code.co_lines():
            if start <= self.offset < end and number is not None:
                line = number
                break
        return f"{_short(self.code.co_filename)}:{line} in {self.code.co_qualname}"


def site(frame: FrameType, outer: FrameType | None = None) -> Site:
    """Find the line of the application that a frame was called from.

    Args:
        frame: Where to start.
        outer: Where to go on when the stack of `frame` ends: a greenlet's stack ends where the coroutine's goes on.

    Returns:
        The first frame outside dal, SQLAlchemy and contextlib, or the outermost one.
    """
    known = _internal
    while True:
        code = frame.f_code
        inside = known.get(code.co_filename)
        if inside is None:
            inside = _classify(code.co_filename)
        if inside:
            above, outer = (frame.f_back, outer) if frame.f_back is not None else (outer, None)
            if above is not None:
                frame = above
                continue
        return tuple.__new__(Site, (code, frame.f_lasti, id(frame)))


def is_running(place: Site, frame: FrameType | None) -> bool:
    """Tell whether the function that `place` is in still runs somewhere up the stack of `frame`."""
    while frame is not None:
        if id(frame) == place.frame and frame.f_code is place.code:
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
