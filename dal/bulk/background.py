"""Background: what the server works on while Python makes the next rows ready.

psycopg's own calls wait for the end of a statement. Here one is sent by its libpq layer and awaited later; in between the
connection must not be used. What a COPY sends is encoded ahead of it: see `encoding`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from dal.bulk.wire import Wire, prepared

__all__ = ["Background"]

_TOGETHER = 1024 * 1024


class Background:
    """One statement at a time, sent and awaited later.

    Args:
        wire: The connection; a statement was sent by it in this transaction already.

    Attributes:
        busy: Whether a statement is under way.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._pgconn: Any = wire.driver.pgconn
        self._statement = ""
        self.busy = False

    def start(self, statement: str) -> None:
        """Send a statement, or several.

        Args:
            statement: With percent signs doubled, as for `Wire.run`.
        """
        self._wire.announce()
        self._statement, _ = prepared(statement, None)
        self._pgconn.send_query(self._statement.encode(self._wire.driver.info.encoding))
        self.busy = True

    def copy(self, statement: str, blocks: Sequence[bytes]) -> None:
        """Send a COPY and its rows.

        Args:
            statement: The COPY; other statements may stand before it.
            blocks: What `Encoder` has made of the rows.

        Raises:
            DBAPIError: One of the statements failed.
        """
        self.start(statement)
        self._wait(_opened(self._pgconn))
        self._wait(_sent(self._pgconn, blocks))

    def push(self) -> bool:
        """Let the connection take what it can of what was not sent yet.

        Returns:
            Whether a result is there: where it is a failure, the server does nothing until it is taken.
        """
        if not self.busy:
            return False
        self._pgconn.flush()
        self._pgconn.consume_input()
        return not self._pgconn.is_busy()

    def result(self) -> Any:
        """Wait for the end, and return libpq's result of the first statement.

        Raises:
            DBAPIError: It failed.
        """
        results = self._wait(_ended(self._pgconn))
        self.busy = False
        return results[0]

    def leave(self) -> None:
        """Wait for the end of what is under way, whatever comes of it: another statement is sent then, to take all back."""
        from psycopg import pq

        if self.busy and self._pgconn.status == pq.ConnStatus.OK:
            self.busy = False
            self._wire.wait(_abandoned(self._pgconn), self._statement)

    def _wait(self, work: Generator[Any, Any, Any]) -> Any:
        try:
            return self._wire.wait(work, self._statement)
        except Exception:
            # The server's own, told once all results were taken, or the connection is lost.
            self.busy = False
            raise


def _opened(pgconn: Any) -> Generator[Any, Any, None]:
    from psycopg import pq

    results = yield from _drained(pgconn, until_copy=True)
    if results[-1].status != pq.ExecStatus.COPY_IN:
        _raise_failed(results)


def _sent(pgconn: Any, blocks: Sequence[bytes]) -> Generator[Any, Any, None]:
    from psycopg.waiting import Wait

    held = 0
    for block in blocks:
        for at in range(0, len(block), _TOGETHER):
            while pgconn.put_copy_data(block[at : at + _TOGETHER]) == 0:
                yield Wait.W
        held += len(block)
        if held > _TOGETHER:
            # libpq would take all there is memory for.
            held = 0
            yield from _flushed(pgconn)
    while pgconn.put_copy_end() == 0:
        yield Wait.W


def _flushed(pgconn: Any) -> Generator[Any, Any, None]:
    from psycopg.waiting import Ready, Wait

    while pgconn.flush():
        # Nothing, where psycopg goes on after an interrupt.
        ready = yield Wait.RW
        if ready and ready & Ready.R:
            pgconn.consume_input()


def _ended(pgconn: Any) -> Generator[Any, Any, list[Any]]:
    results = yield from _drained(pgconn)
    _raise_failed(results)
    return results


def _raise_failed(results: list[Any]) -> None:
    from psycopg import errors, pq

    for result in results:
        if result.status not in {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}:
            raise errors.error_from_result(result)


def _abandoned(pgconn: Any) -> Generator[Any, Any, None]:
    """Take all results of what was sent; a COPY that waits for rows is told that there are none."""
    from psycopg import pq

    while True:
        results = yield from _drained(pgconn, until_copy=True)
        if not results or results[-1].status != pq.ExecStatus.COPY_IN:
            return
        pgconn.put_copy_end(b"stopped")


def _drained(pgconn: Any, *, until_copy: bool = False) -> Generator[Any, Any, list[Any]]:
    """Return all results of what was sent."""
    from psycopg import pq
    from psycopg.waiting import Wait

    yield from _flushed(pgconn)
    results: list[Any] = []
    while True:
        while pgconn.is_busy():
            yield Wait.R
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return results
        results.append(result)
        if until_copy and result.status == pq.ExecStatus.COPY_IN:
            return results
