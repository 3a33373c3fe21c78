"""COPY ... TO STDOUT, read in blocks of whole rows on psycopg's libpq layer.

psycopg hands out one row at a time, which costs more than the server needs to make it; here what libpq has received is taken
without going back and forth. Both doors wait by the driver's own `Connection.wait()`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from dal.bulk.wire import Wire

__all__ = ["CopyOut"]

_BLOCK = 256 * 1024


class CopyOut:
    """A COPY ... TO STDOUT.

    Args:
        wire: The connection.
        statement: The COPY.

    Attributes:
        rows: How many rows it gave, once it has ended.
    """

    def __init__(self, wire: Wire, statement: str) -> None:
        self._wire, self._statement = wire, statement
        self._pgconn: Any = wire.driver.pgconn
        self.rows = 0

    def blocks(self) -> Iterator[bytes]:
        """Yield blocks of whole rows.

        Raises:
            DBAPIError: The server refused it, or the connection was lost.
        """
        # psycopg begins the transaction with the first statement of its own.
        self._wire.fetch("SELECT 1")
        encoded = self._statement.encode(self._wire.driver.info.encoding)
        ended = self._wire.wait(_begin(self._pgconn, encoded), self._statement)
        try:
            while not ended:
                block = bytearray()
                ended = self._wire.wait(self._some(block), self._statement)
                if block:
                    yield bytes(block)
        finally:
            if not ended:
                # Whoever stopped reading leaves a connection in the middle of a COPY.
                self._wire.connection.invalidate()

    def _some(self, block: bytearray) -> Generator[Any, Any, bool]:
        """Take a block; True at the end."""
        from psycopg.waiting import Wait

        get = self._pgconn.get_copy_data
        while len(block) < _BLOCK:
            length, data = get(1)
            if length > 0:
                block += data
            elif length == 0:
                yield Wait.R
                self._pgconn.consume_input()
            else:
                self.rows = yield from _ended(self._pgconn, [])
                return True
        return False


def _begin(pgconn: Any, statement: bytes) -> Generator[Any, Any, bool]:
    from psycopg import pq
    from psycopg.waiting import Wait

    pgconn.send_query(statement)
    while pgconn.flush():
        yield Wait.RW
        pgconn.consume_input()
    while pgconn.is_busy():
        yield Wait.R
        pgconn.consume_input()
    result = pgconn.get_result()
    if result.status != pq.ExecStatus.COPY_OUT:
        yield from _ended(pgconn, [result])
    return False


def _ended(pgconn: Any, results: list[Any]) -> Generator[Any, Any, int]:
    from psycopg import errors, pq
    from psycopg.waiting import Wait

    while True:
        while pgconn.is_busy():
            yield Wait.R
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            break
        results.append(result)
    failed = next((one for one in results if one.status != pq.ExecStatus.COMMAND_OK), None)
    if failed is not None:
        raise errors.error_from_result(failed)
    return int(results[-1].command_tuples or 0)
