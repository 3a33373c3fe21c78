"""Flow: a stream on its way into a sink, in a thread of its own, until it is told to stop."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from dal.durations import Duration, seconds
from dal.streams.loop import FlowStats, Loop
from dal.streams.waiting import Waiting

__all__ = ["Flow"]

_log = logging.getLogger("dal.streams")
_LOOK = 0.1


class Flow:
    """A stream that runs into its sink; made, and started, by `.to(...)`.

    It ends with `stop()`, with the database's `close()`, or with an error, which is logged, told by `stats()`, `db.health()`
    and `wait()`. Nothing that was read is lost by that: the stream goes on behind its last commit when it is made again.

    Args:
        loop: What it does.
        waiting: What it waits by.
        name: The stream's name.

    Example:
        >>> flow = db.changes(Order, name="log").to(print)    # runs from here on  # doctest: +SKIP
        >>> flow.run()    # or let the program wait for it: until Ctrl-C or SIGTERM  # doctest: +SKIP
    """

    def __init__(self, loop: Loop, waiting: Waiting, name: str) -> None:
        self._loop, self._waiting, self.name = loop, waiting, name
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=f"dal stream {name}", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Flow {self.name} {self.stats().state}>"

    def begin(self) -> Self:
        """Check the setting, make slot and publication, and start the thread; `.to(...)` has done so.

        Raises:
            DalError: The server, a table or the sink cannot do it.
        """
        try:
            self._loop.prepare()
        except BaseException:
            self._loop.close()
            raise
        self._thread.start()
        return self

    def run(self) -> None:
        """Wait until it ends, and end it with Ctrl-C or SIGTERM: the main line of a program that does nothing else.

        Raises:
            DalError: The stream cannot go on. So does what a caller's function raised.
        """
        with _terminated(self._waiting):
            try:
                self.wait()
            except KeyboardInterrupt:
                self.stop()
                raise

    def wait(self, timeout: Duration | None = None) -> bool:
        """Wait until it ends.

        Args:
            timeout: How long at most; None: as long as it takes.

        Returns:
            Whether it has ended.

        Raises:
            DalError: It ended with this error. So does what a caller's function raised.
        """
        left = None if timeout is None else seconds(timeout, name="timeout")
        while self._thread.is_alive() and (left is None or left > 0):
            step = _LOOK if left is None else min(_LOOK, left)
            self._thread.join(step)
            left = None if left is None else left - step
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def stop(self, timeout: Duration = 30.0) -> bool:
        """Tell it to stop, after the transaction it is in, and wait for that.

        Args:
            timeout: How long to wait.

        Returns:
            Whether it has ended.
        """
        self._waiting.stop()
        if threading.current_thread() is not self._thread:
            self._thread.join(seconds(timeout, name="timeout"))
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop it; what a closing database does."""
        self.stop()

    def stats(self) -> FlowStats:
        """Tell how it is doing."""
        return self._loop.stats()

    def _work(self) -> None:
        try:
            self._loop.run()
        except BaseException as error:
            self._error = error
            _log.exception("the stream %r has ended", self.name)


@contextmanager
def _terminated(waiting: Waiting) -> Iterator[None]:
    """Let SIGTERM stop the wait, where nobody else handles it and this is the main thread."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> Any:
        waiting.stop()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
