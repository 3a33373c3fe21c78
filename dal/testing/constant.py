"""More rows, same number of statements: finds what no pattern can, because it asks the code itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session, sessionmaker

from dal.detection import Report, detect
from dal.errors import NPlusOneFound, UsageError

__all__ = ["assert_constant_queries"]

Source = Engine | Connection | Session | sessionmaker[Session]


def assert_constant_queries(
    act: Callable[..., object],
    *,
    seed: Callable[..., object],
    sizes: Sequence[int] = (2, 5, 11),
    session: Source | None = None,
) -> list[int]:
    """Assert that a piece of code sends the same number of statements however many rows there are.

    Data is seeded, `act` runs, more data is seeded, `act` runs again. Only `act` is counted.

    Args:
        act: The code under test: `act()`, or `act(session)` with a fresh session each time.
        seed: Makes the data: `seed(size)`, or `seed(session, size)`, which is committed.
        sizes: How many rows to seed before each run, growing.
        session: An engine, a connection, a sessionmaker, or one session; needed when `act` or `seed` takes a session. One
            session is emptied before each run, so that nothing is answered from what it holds.

    Returns:
        The number of statements of each run.

    Raises:
        NPlusOneFound: The number grew; the message names the statements that did, and their lines.
        UsageError: Fewer than two sizes, sizes that do not grow, or a session is needed and not given.

    Example:
        >>> from sqlalchemy import create_engine, text
        >>> engine = create_engine("sqlite://")
        >>> def one_query(session): session.execute(text("SELECT 1"))
        >>> assert_constant_queries(one_query, seed=lambda size: None, session=engine)
        [1, 1, 1]
    """
    if len(sizes) < 2 or any(later <= earlier for earlier, later in pairwise(sizes)):
        raise UsageError(f"sizes={tuple(sizes)}: growth needs two sizes or more, each larger", hint="sizes=(2, 5, 11)")
    seed_takes_session, act_takes_session = _parameters(seed) > 1, _parameters(act) > 0
    if session is None and (seed_takes_session or act_takes_session):
        raise UsageError("act or seed takes a session and there is none", hint="assert_constant_queries(..., session=engine)")
    reports: list[Report] = []
    for size in sizes:
        _seed(seed, size, session if seed_takes_session else None)
        if isinstance(session, Session):
            session.flush()
            session.expunge_all()
        reports.append(_observed(act, session if act_takes_session else None))
    counts = [report.count for report in reports]
    if max(counts[1:]) > counts[0]:
        raise _grown(sizes, counts, reports)
    return counts


def _parameters(function: Callable[..., object]) -> int:
    """Count the arguments that a call has to give by position."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.signature(function)
    return sum(each.kind in positional and each.default is each.empty for each in signature.parameters.values())


def _opened(source: Source) -> Session:
    if isinstance(source, Session):
        return source
    return source() if isinstance(source, sessionmaker) else Session(source)


def _seed(seed: Callable[..., object], size: int, source: Source | None) -> None:
    if source is None:
        seed(size)
        return
    session = _opened(source)
    seed(session, size)
    if session is source:
        session.flush()
        return
    session.commit()
    session.close()


def _observed(act: Callable[..., object], source: Source | None) -> Report:
    if source is None:
        with detect() as report:
            act()
        return report
    session = _opened(source)
    try:
        with detect() as report:
            act(session)
    finally:
        if session is not source:
            session.close()
    return report


def _grown(sizes: Sequence[int], counts: list[int], reports: list[Report]) -> NPlusOneFound:
    before: dict[Any, int] = {}
    for seen in reports[0].statements:
        before[seen.sql, seen.call_site] = seen.count
    grown = [seen for seen in reports[-1].statements if seen.count > before.get((seen.sql, seen.call_site), 0)]
    table = ", ".join(f"{size} rows: {count}" for size, count in zip(sizes, counts, strict=True))
    lines = [f"the number of statements grows with the data ({table})"]
    lines += [
        f"  {before.get((seen.sql, seen.call_site), 0)} -> {seen.count} x {seen.sql[:160]}\n      at {seen.call_site}"
        for seen in grown[:10]
    ]
    found = reports[-1].findings
    return NPlusOneFound("\n".join(lines), hint=found[0].fix if found else "load what the loop needs before the loop")
