"""Background: what the server works on while Python makes the next rows ready.

psycopg's own calls wait for the end of a statement. Here one is sent by its libpq layer and awaited later; in between the
connection must not be used. Rows are encoded ahead of their COPY, by the same formatter that a COPY under way has.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from dal.bulk.wire import Row, Wire, bad_row, prepared

__all__ = ["Background", "Encoder"]

_MOST = 4 * 1024 * 1024
_TOGETHER = 1024 * 1024


class Encoder:
    """Encodes rows for COPY.

    Args:
        wire: The connection.
        types: psycopg's names of the types of the columns.
        binary: Whether the COPY is a binary one.
    """

    def __init__(self, wire: Wire, types: Sequence[str], *, binary: bool) -> None:
        self._wire, self._types, self._binary = wire, types, binary

    def encoded(self, rows: list[Row], meanwhile: Callable[[], object] = lambda: None) -> tuple[list[bytes], int]:
        """Encode rows, as many as may be held.

        Args:
            rows: The rows.
            meanwhile: Called now and then.

        Returns:
            All that their COPY sends, in blocks, and how many of them it sends: not all where they are large.

        Raises:
            BadRow: One of them cannot be encoded.
        """
        from psycopg import Copy

        # A COPY that has not begun: it only knows the formats.
        copy: Any = Copy(self._wire.driver.cursor(), binary=self._binary, writer=_nowhere())
        copy.set_types(self._types)
        write, blocks, size = copy.formatter.write_row, [], 0
        remaining: Any = iter(rows)
        try:
            for row in remaining:
                if block := write(row):
                    blocks.append(block)
                    size += len(block)
                    meanwhile()
                    if size > _MOST:
                        break
        except Exception as error:
            raise bad_row(rows, remaining, error) from error
        return [*blocks, copy.formatter.end()], len(rows) - remaining.__length_hint__()


def _nowhere() -> Any:
    from psycopg.copy import Writer

    class Nowhere(Writer):
        def write(self, data: Any) -> None:
            raise NotImplementedError

    return Nowhere()


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
        self.busy = True

    def push(self) -> None:
        """Let the connection take what it can of what was not sent yet."""
        if self.busy:
            self._pgconn.flush()

    def result(self) -> Any:
        """Wait for the end, and return libpq's result of the first statement.

        Raises:
            DBAPIError: It failed.
        """
        return self._wait(_ended(self._pgconn))[0]

    def leave(self) -> None:
        """Wait for the end of what is under way, whatever comes of it: another statement is sent then, to take all back."""
        from psycopg import pq

        if self.busy and self._pgconn.status == pq.ConnStatus.OK:
            self.busy = False
            self._wire.wait(_drained(self._pgconn), self._statement)

    def _wait(self, work: Generator[Any, Any, Any]) -> Any:
        found = self._wire.wait(work, self._statement)
        self.busy = False
        return found


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
        if (yield Wait.RW) & Ready.R:
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
