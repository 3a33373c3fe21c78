"""Parts by a hash of a key: the rows of one key are in one part, and each part reads the whole table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, func, literal, literal_column

__all__ = ["conditions"]

_POSITIVE = literal_column("9223372036854775807", BigInteger)


def conditions(connection: Connection, key: ColumnElement[Any], parts: int) -> list[tuple[str, ColumnElement[bool]]]:
    """Return each part's bounds and condition; none on other databases than PostgreSQL.

    Args:
        connection: Says which database it is.
        key: What is hashed, by its type's own hash function: what is equal is together, NULLs too.
        parts: How many.
    """
    if connection.dialect.name != "postgresql" or parts == 1:
        return []
    hashed = func.hash_record_extended(func.row(key), literal_column("0", BigInteger), type_=BigInteger)
    bucket = func.mod(hashed.bitwise_and(_POSITIVE), literal(parts, BigInteger))
    return [(f"hash of {key} = {number} of {parts}", bucket == literal(number, BigInteger)) for number in range(parts)]
