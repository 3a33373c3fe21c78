"""`db.parallel(...)`: one statement read by several workers at the same time, all of them in one snapshot.

Use it for a pass over a large table that does something with each row: statistics, checks, exports. A query that PostgreSQL
can answer by itself is better left to it. Threads are enough where the time goes into waiting for the server; work in Python
that holds the interpreter needs `processes=True`.

Order, splitting and the number of parts do not change what comes out, as long as the function does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Generic, TypeVar

from sqlalchemy import Engine, Select
from sqlalchemy.orm import Session

from dal._processes import check_portable
from dal.errors import ConfigError, UsageError
from dal.parallel.part import Progress
from dal.parallel.remote import Compiled, columns_of
from dal.parallel.results import ParallelResults
from dal.parallel.runtime import Runtime
from dal.parallel.scan import Task
from dal.parallel.split import By, Split, check_statement, is_key

__all__ = ["Parallel", "described", "each_row"]

T = TypeVar("T")
R = TypeVar("R")

_PARTS_PER_WORKER = 8


class Parallel(Generic[T]):
    """What is read in parallel; nothing runs before its results are asked for.

    Args:
        task: What is to be done.

    Example:
        >>> from sqlalchemy import column, select, values, Integer
        >>> from dal import Database
        >>> numbers = values(column("n", Integer), name="numbers").data([(n,) for n in range(100)])
        >>> with Database("sqlite://") as db:
        ...     db.parallel(select(numbers.c.n), by=numbers.c.n, workers=2).map(sum).reduce(int.__add__)
        4950
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def map(self, work: Callable[[list[T]], R]) -> ParallelResults[R]:
        """Call a function once a part, with the part's rows.

        Args:
            work: Called with a list: of what the statement selects where that is one thing (objects, or a column's values),
                else of rows. In other processes a mapped class comes as rows with the names of its attributes.

        Returns:
            The results, one a part.

        Raises:
            UsageError: It is no function, or with `processes=True` one that another process cannot import.
        """
        return ParallelResults(self._with(work, work), flat=False)

    def map_rows(self, work: Callable[[T], R]) -> ParallelResults[R]:
        """Call a function for each row.

        Args:
            work: Called with a row.

        Returns:
            The results, one a row.

        Raises:
            UsageError: It is no function, or with `processes=True` one that another process cannot import.
        """
        return ParallelResults(self._with(work, partial(each_row, work)), flat=True)

    def rows(self) -> ParallelResults[T]:
        """Return the rows as they are."""
        return ParallelResults(self._with(list, list), flat=True, columns=columns_of(self.task.statement))

    def __iter__(self) -> Iterator[T]:
        return iter(self.rows())

    def write(self, target: Any) -> int:
        """Write the rows; see `ParallelResults.write`."""
        return self.rows().write(target)

    def _with(self, given: Callable[..., Any], work: Callable[..., Any]) -> Task:
        if not callable(given):
            raise UsageError(f"{given!r} is no function", hint=".map(len), or .rows() for the rows as they are")
        self.task.runtime().check(given)
        if self.task.processes:
            check_portable(given, what="processes=True")
        return replace(self.task, work=work)


def each_row(work: Callable[[Any], Any], rows: list[Any]) -> list[Any]:
    """Call a function with each row of a part."""
    return [work(row) for row in rows]


def described(
    statement: Select[Any],
    *,
    by: By,
    split: Split | None,
    workers: int,
    parts: int | None,
    processes: bool,
    ordered: bool,
    progress: Callable[[Progress], object] | None,
    sessions: Callable[[], Session],
    engine: Engine,
    runtime: Callable[[], Runtime],
    most: int,
) -> Task:
    """Check what a caller said.

    Args:
        statement: A `select()`.
        by: What it is cut by.
        split: How; by default ranges of `by`, or physical ranges where `by` is a class, a table, or missing.
        workers: How many; more than `most` are as many as that.
        parts: How many parts to aim at.
        processes: Whether each worker has a process.
        ordered: Whether results come in the order of the parts.
        progress: Is told after each part.
        sessions: Makes a session.
        engine: The database's engine.
        runtime: Makes what a run runs on.
        most: What the pool gives, in connections.

    Returns:
        What is to be done.

    Raises:
        UsageError: The statement cannot be cut like that, or an argument is nothing of its kind.
        ConfigError: A number is below 1.
    """
    if workers is None:
        raise UsageError("workers=None says nothing", hint="leave it out for 4 workers, or write a whole number from 1")
    if progress is not None and not callable(progress):
        raise UsageError(f"progress={progress!r} is no function", hint="progress=print")
    chosen: Split = split or ("physical" if by is None or not is_key(by) else "range")
    if by is None and chosen != "physical":
        raise UsageError(f"split={split!r} needs a key", hint="by=Flight.id")
    check_statement(statement, by, chosen)
    for name, number in (("workers", workers), ("parts", parts)):
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
            raise ConfigError(f"{name}: {number!r} is no number of {name}", hint="write a whole number from 1")
    if processes:
        check_portable(Compiled(statement).columns, what="processes=True, the types of the columns")
    workers = min(workers, most)
    goal = parts or (workers if chosen == "hash" else workers * _PARTS_PER_WORKER)
    return Task(
        statement=statement,
        by=by,
        split=chosen,
        workers=workers,
        parts=goal,
        processes=processes,
        ordered=ordered,
        progress=progress,
        sessions=sessions,
        engine=engine,
        runtime=runtime,
    )
