"""What runs on a database for longer than a statement, so that closing it can end that, and say so.

A run says what it is and how it is ended, for as long as it runs. Whatever it raises once the database was closed becomes one
`UsageError` that tells of that; what came of the ending itself is its cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Engine

from dal.errors import UsageError

__all__ = ["during", "end_all"]


class _Run(NamedTuple):
    closed: UsageError
    end: Callable[[UsageError], None]
    ended: list[None]


_runs: WeakKeyDictionary[Engine, dict[int, _Run]] = WeakKeyDictionary()


@contextmanager
def during(engine: Engine, what: str, end: Callable[[UsageError], None]) -> Iterator[None]:
    """Note that something runs, in a block.

    Args:
        engine: The engine of the database.
        what: What it is, for the error.
        end: Called when the database is closed, from wherever that is, with the error to raise; has to return at once.

    Raises:
        UsageError: The database was closed meanwhile.
    """
    closed = UsageError(
        f"the database was closed while {what} ran",
        hint="close it when everything is read, or stop reading before it is closed",
    )
    run = _Run(closed, end, [])
    # No lock: a run that is forgotten ends in the garbage collector, in the middle of anything.
    runs = _runs.setdefault(engine, {})
    runs[id(run)] = run
    try:
        yield
    except Exception as error:
        if not run.ended or error is closed:
            raise
        raise closed from error
    finally:
        runs.pop(id(run), None)


def end_all(engine: Engine) -> None:
    """End what runs on a database that is being closed."""
    for run in list(_runs.get(engine, {}).values()):
        run.ended.append(None)
        run.end(run.closed)
