"""Where a stream stands: a place in the server's write-ahead log, and how far into the transaction committed there."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

from dal.errors import UsageError

__all__ = ["Position", "lsn_from", "lsn_text"]

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


class Position(NamedTuple):
    """A place in a stream; positions of one stream compare as its changes came.

    Args:
        lsn: The place of the transaction's commit in the log; with an outbox the number of its last row.
        sequence: The change's number in its transaction, from 1.

    Example:
        >>> str(Position(0x116B3748, 3)), Position.parse("0/116B3748:3") < Position(0x116B3748, 4)
        ('0/116B3748:3', True)
    """

    lsn: int
    sequence: int

    def __str__(self) -> str:
        return f"{lsn_text(self.lsn)}:{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str()` wrote.

        Args:
            text: Such as `"0/16B3748:3"`.

        Raises:
            UsageError: It is no position.
        """
        place, _, sequence = text.partition(":")
        if not sequence.isdigit():
            raise UsageError(f"{text!r} is not a position of a stream", hint="it looks like '0/16B3748:3'")
        return cls(lsn_from(place), int(sequence))


def lsn_text(lsn: int) -> str:
    """Write a log position as PostgreSQL does.

    Args:
        lsn: The position in bytes.

    Example:
        >>> lsn_text(0x1_0000_00FF)
        '1/FF'
    """
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_from(text: str) -> int:
    """Read a log position.

    Args:
        text: Such as `"1/FF"`.

    Raises:
        UsageError: It is none.
    """
    match = _LSN.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a log position", hint="it looks like '0/16B3748'")
    return int(match[1], 16) << 32 | int(match[2], 16)
