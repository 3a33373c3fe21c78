"""Halving: find the rows that a database refuses without naming them, in tries that grow with the number of bad ones only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

__all__ = ["begin_for_real", "halve"]


def halve(
    connection: Connection,
    number: int,
    write: Callable[[int, int], object],
    reject: Callable[[int, Exception], object],
    refusals: tuple[type[Exception], ...],
) -> None:
    """Write a range of rows, in halves of halves where one is refused.

    Args:
        connection: The connection, in a transaction.
        number: How many rows there are.
        write: Writes those from a place up to another.
        reject: Called with the place of each that is refused, and the error. What it raises ends the call.
        refusals: The errors that a row may be refused with; all others pass.
    """
    begin_for_real(connection)
    ranges = [(0, number)]
    while ranges:
        start, stop = ranges.pop()
        if start >= stop:
            continue
        try:
            with connection.begin_nested():
                write(start, stop)
        except refusals as error:
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise
            if stop - start == 1:
                reject(start, error)
            else:
                middle = (start + stop) // 2
                ranges += [(middle, stop), (start, middle)]


def begin_for_real(connection: Connection) -> None:
    """Begin SQLite's transaction, which its driver puts off until the first write: a savepoint would be one of its own."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite" and not driver.in_transaction:
        connection.exec_driver_sql("BEGIN")
