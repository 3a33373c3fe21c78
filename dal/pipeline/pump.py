"""A source that blocks, read beside an event loop: a thread takes its items, the loop gets each as soon as it is there."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from sqlalchemy.util import await_only

__all__ = ["Pump"]

_AHEAD = 100


class Pump:
    """Reads a source in a thread of its own.

    Args:
        source: Any iterable.

    Attributes:
        gone: Done when the thread is; what the source raised.
    """

    def __init__(self, source: Iterable[Any]) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._items: deque[Any] = deque()
        self._room = threading.Semaphore(_AHEAD)
        self._came = asyncio.Event()
        self._idle = self._ended = self._stopped = False
        self.gone: Future[BaseException | None] = Future()
        self._thread = threading.Thread(target=self._read, name="dal-pipeline-source", daemon=True)

    def items(self) -> Generator[Any, None, None]:
        """Read the source; in a greenlet of the loop.

        Yields:
            Its items.

        Raises:
            Exception: What the source raised.
        """
        self._thread.start()
        try:
            while self._wait():
                yield self._items.popleft()
                self._room.release()
            error = self.gone.result()
            if error is not None:
                raise error
        finally:
            self._stopped = True
            self._room.release()

    def _wait(self) -> bool:
        while not self._items:
            if self._ended:
                return bool(self._items)
            self._came.clear()
            self._idle = True
            if not self._items and not self._ended:
                await_only(self._came.wait())
            self._idle = False
        return True

    def _read(self) -> None:
        ended_by: BaseException | None = None
        try:
            for item in self._source:
                self._room.acquire()
                if self._stopped:
                    break
                self._items.append(item)
                if self._idle:
                    self._tell()
        except BaseException as error:
            ended_by = error
        self.gone.set_result(ended_by)
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        # A loop that has ended has nobody who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._came.set)
