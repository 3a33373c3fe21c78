"""Encoding: rows as COPY sends them, made before their COPY begins, by the formatter that a COPY under way has.

The bytes are kept in blocks of whole rows, so that a row that the server refuses can be cut out: only its block is made anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dal.bulk.wire import Row, Wire, bad_row

__all__ = ["Encoded", "Encoder"]

_MOST = 4 * 1024 * 1024
_HEADER, _TRAILER = 19, 2
"""Bytes of a binary COPY before its first row and after its last: https://www.postgresql.org/docs/current/sql-copy.html."""


@dataclass(frozen=True)
class Encoded:
    """Encoded rows.

    Args:
        rows: The rows.
        blocks: All that their COPY sends.
        ends: How many rows the blocks hold, each with those before it.
    """

    rows: Sequence[Row]
    blocks: Sequence[bytes]
    ends: Sequence[int]


class Encoder:
    """Encodes rows for COPY.

    Args:
        wire: The connection.
        types: psycopg's names of the types of the columns.
        binary: Whether the COPY is a binary one.
    """

    def __init__(self, wire: Wire, types: Sequence[str], *, binary: bool) -> None:
        self._wire, self._types, self._binary = wire, types, binary

    def encoded(self, rows: list[Row], meanwhile: Callable[[], object] = lambda: None) -> Encoded:
        """Encode rows, as many as may be held.

        Args:
            rows: The rows.
            meanwhile: Called between blocks; what it raises is raised as it is.

        Returns:
            The first of them, encoded: not all where they are large.

        Raises:
            BadRow: One of them cannot be encoded.
        """
        formatter = self._formatter()
        blocks, ends, size = [], [], 0
        for block, number in _blocks(rows, formatter.write_row):
            blocks.append(block)
            ends.append(number)
            size += len(block)
            meanwhile()
            if size > _MOST:
                break
        else:
            number = len(rows)
        return Encoded(rows[:number], [*blocks, formatter.end()], [*ends, number])

    def without(self, encoded: Encoded, index: int) -> Encoded:
        """Return what was encoded without one of its rows.

        Args:
            encoded: What was encoded.
            index: The row's place.
        """
        at = bisect_right(encoded.ends, index)
        start, stop = (encoded.ends[at - 1] if at else 0), encoded.ends[at]
        formatter = self._formatter()
        block = b"".join(
            [*map(formatter.write_row, (*encoded.rows[start:index], *encoded.rows[index + 1 : stop])), formatter.end()]
        )
        if self._binary:
            last = at == len(encoded.blocks) - 1
            block = block[_HEADER if at else 0 : len(block) if last else -_TRAILER]
        return Encoded(
            [*encoded.rows[:index], *encoded.rows[index + 1 :]],
            [*encoded.blocks[:at], block, *encoded.blocks[at + 1 :]],
            [*encoded.ends[:at], *(end - 1 for end in encoded.ends[at:])],
        )

    def _formatter(self) -> Any:
        from psycopg import Copy

        # A COPY that has not begun: it only knows the formats.
        copy: Any = Copy(self._wire.driver.cursor(), binary=self._binary, writer=_nowhere())
        copy.set_types(self._types)
        return copy.formatter


def _blocks(rows: list[Row], write: Callable[[Row], bytes]) -> Iterator[tuple[bytes, int]]:
    """Give blocks as they are full, and how many rows were encoded by then."""
    remaining: Any = iter(rows)
    try:
        for row in remaining:
            if block := write(row):
                yield block, len(rows) - remaining.__length_hint__()
    except Exception as error:
        raise bad_row(rows, remaining, error) from error


def _nowhere() -> Any:
    from psycopg.copy import Writer

    class Nowhere(Writer):
        def write(self, data: Any) -> None:
            raise NotImplementedError

    return Nowhere()
