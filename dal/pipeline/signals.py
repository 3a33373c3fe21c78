"""SIGTERM ends a run as Ctrl-C does: by an exception, so that everything is ended and told.

A handler of the application's own is left alone, and so are signals where a run is not in the main thread.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["task_terminable", "terminable"]

_CODE = 128 + signal.SIGTERM


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise SystemExit in a block."""
    if not _is_ours():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(_CODE)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def task_terminable() -> Iterator[None]:
    """Let SIGTERM cancel the task that is in a block, and raise SystemExit behind it."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    told: list[None] = []

    def end() -> None:
        told.append(None)
        if task is not None:
            task.cancel()

    if not _is_ours() or not _added(loop, end):
        yield
        return
    try:
        yield
    except asyncio.CancelledError as error:
        if not told:
            raise
        leaving = SystemExit(_CODE)
        for note in getattr(error, "__notes__", ()):
            leaving.add_note(note)
        raise leaving from error
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _is_ours() -> bool:
    return threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def _added(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> bool:
    try:
        loop.add_signal_handler(signal.SIGTERM, end)
    except (NotImplementedError, RuntimeError):
        return False
    return True
