"""A page in one call: check what was asked, verify the cursor, read, count, sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple, overload

from sqlalchemy import ColumnElement, Dialect, Row, Select
from sqlalchemy.orm import Session

from dal.errors import UsageError
from dal.paging import totals
from dal.paging.keyset import Position
from dal.paging.page import Page, shape
from dal.paging.plan import PagePlan, plan
from dal.paging.settings import Cursors, cursors_of
from dal.paging.totals import Totals
from dal.paging.window import Window, read

__all__ = ["MAX_OFFSET", "PageRequest", "dialect_of", "get_page", "read_page"]

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
Ts = TypeVarTuple("Ts")

MAX_OFFSET = 10_000


@dataclass(frozen=True)
class PageRequest:
    """Which page, checked.

    Args:
        size: Rows of the page.
        after: Begin after this position.
        before: End before this position.
        offset: Rows to skip.
        backwards: Begin at the end, where there is no position.
    """

    size: int
    after: Position | None = None
    before: Position | None = None
    offset: int = 0
    backwards: bool = False

    @classmethod
    def checked(
        cls,
        planned: PagePlan[Any],
        cursors: Cursors,
        *,
        size: int,
        after: str | None = None,
        before: str | None = None,
        number: int | None = None,
        max_offset: int = MAX_OFFSET,
    ) -> PageRequest:
        """Check what a caller asks for; nothing is sent.

        Args:
            planned: The plan.
            cursors: How cursors are made.
            size: Rows of the page, 1 or more.
            after: A cursor to begin after.
            before: A cursor to end before.
            number: A page by its number: the first is 1, the last is -1.
            max_offset: How many rows may be skipped to get to a page by its number.

        Raises:
            UsageError: The size or number is none, or more than one of `after`, `before` and `number` was given.
            CursorError: The cursor is not one of ours for this query.
        """
        rows = _positive(size, "size")
        named = [name for name, given in (("after", after), ("before", before), ("number", number)) if given is not None]
        if len(named) > 1:
            raise UsageError(
                f"{' and '.join(named)} cannot both say where a page begins", hint=f"leave one out, such as {named[-1]}"
            )
        if number is not None:
            return cls(rows, offset=_offset(number, rows, max_offset), backwards=number < 0)
        cursor = before if after is None else after
        if cursor is None:
            return cls(rows)
        position = cursors.signer.verify(cursor, query=planned.fingerprint, owner=cursors.owner)
        return cls(rows, after=position) if before is None else cls(rows, before=position)


@overload
def get_page(
    session: Session,
    statement: Select[T],
    *,
    order_by: Any = None,
    size: int = 50,
    after: str | None = None,
    before: str | None = None,
    number: int | None = None,
    total: Totals = "none",
    owner: str | None = None,
    key: Sequence[ColumnElement[Any]] | None = None,
    max_offset: int = MAX_OFFSET,
) -> Page[T]: ...
@overload
def get_page(
    session: Session,
    statement: Select[T1, T2, *Ts],
    *,
    order_by: Any = None,
    size: int = 50,
    after: str | None = None,
    before: str | None = None,
    number: int | None = None,
    total: Totals = "none",
    owner: str | None = None,
    key: Sequence[ColumnElement[Any]] | None = None,
    max_offset: int = MAX_OFFSET,
) -> Page[Row[T1, T2, *Ts]]: ...
def get_page(
    session: Session,
    statement: Any,
    *,
    order_by: Any = None,
    size: int = 50,
    after: str | None = None,
    before: str | None = None,
    number: int | None = None,
    total: Totals = "none",
    owner: str | None = None,
    key: Sequence[ColumnElement[Any]] | None = None,
    max_offset: int = MAX_OFFSET,
) -> Page[Any]:
    """Return a page of a SELECT.

    Args:
        session: Where.
        statement: The SELECT; an order of its own comes first.
        order_by: A column expression, or a list of them. What tells rows apart is added by itself.
        size: Rows of the page.
        after: The cursor to begin after: another page's `next`.
        before: The cursor to end before: another page's `previous`.
        number: A page by its number: the first is 1, the last is -1. The database reads and skips the rows in between.
        total: "none", "exact", "bounded", "estimate", or the number to count up to.
        owner: Who alone may use the page's cursors: a tenant, a user.
        key: What tells the rows apart, where that cannot be seen.
        max_offset: How many rows may be skipped to get to a page by its number.

    Returns:
        The page. Its items are what is selected where that is one thing (objects, or values of a column), else rows.

    Raises:
        UsageError: An argument cannot mean what was written.
        CursorError: The cursor is not one of ours for this query; answer HTTP 400.

    Example:
        `page = get_page(session, select(User.id, User.name), order_by=[User.name], size=20, after=cursor)`
    """
    planned = plan(statement, order_by=order_by, dialect=dialect_of(session, statement), key=key)
    cursors = cursors_of(session, owner)
    how = totals.checked(total)
    asked = PageRequest.checked(planned, cursors, size=size, after=after, before=before, number=number, max_offset=max_offset)
    window = read_page(session, planned, asked)
    return shape(planned, window, cursors, totals.count(session, planned, how))


def read_page(session: Session, planned: PagePlan[T], asked: PageRequest) -> Window[T]:
    """Read the rows of a page that was asked for."""
    return read(
        session,
        planned,
        asked.size,
        after=asked.after,
        before=asked.before,
        offset=asked.offset,
        backwards=asked.backwards,
    )


def dialect_of(session: Session, statement: Any) -> Dialect:
    """Return the dialect of the database that a session sends a statement to."""
    described = statement.column_descriptions if isinstance(statement, Select) else ()
    entity = next((each["entity"] for each in described if each.get("entity") is not None), None)
    return session.get_bind(mapper=entity, clause=statement).dialect


def _positive(number: object, name: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise UsageError(f"{name} is {number!r}", hint=f"{name} is a whole number, 1 or more")
    return number


def _offset(number: object, size: int, most: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number == 0:
        raise UsageError(f"number is {number!r}", hint="the first page is number 1, the last is -1")
    skipped = (abs(number) - 1) * size
    if skipped > most:
        raise UsageError(
            f"for page {number:,} of {size:,} rows the database would read {skipped:,} rows to skip them; "
            f"the most allowed is {most:,}",
            hint="walk by cursor (after=page.next), filter, or raise max_offset",
        )
    return skipped
