"""Totals: how many, and whether exactly."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from dal import Total
from dal.paging import get_page
from tests.paging.models import AUTHORS, Author, Book, Cat, ledger

STATEMENTS: dict[str, Any] = {
    "all": select(Author),
    "filtered": select(Author).where(Author.group == 1),
    "none": select(Author).where(Author.group == 9),
    "joined": select(Author).join(Author.books),
    "with options": select(Author).options(selectinload(Author.books)),
    "groups": select(Author.group, func.count()).group_by(Author.group),
    "distinct": select(Author.nick).distinct(),
    "limited": select(Author).order_by(Author.id).limit(5),
    "single-table inheritance": select(Cat),
    "columns": select(Book.title, Book.id),
    "a table": select(ledger),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_totals(name: str, session: Session) -> None:
    statement = STATEMENTS[name]
    rows = len(session.execute(statement).all())
    assert (rows > 0) == (name != "none")
    assert get_page(session, statement, size=2).total is None
    assert get_page(session, statement, size=2, total="none").total is None
    assert get_page(session, statement, size=2, total="exact").total == Total(rows, exact=True)
    assert get_page(session, statement, size=2, total="bounded").total == Total(rows, exact=True)
    assert get_page(session, statement, size=2, total=max(1, rows)).total == Total(rows, exact=True)
    if rows > 1:
        assert get_page(session, statement, size=2, total=rows - 1).total == Total(rows - 1, exact=False)


def test_a_total_is_that_of_the_whole_on_every_page(session: Session) -> None:
    first = get_page(session, select(Author), size=5)
    second = get_page(session, select(Author), size=5, after=first.next, total="exact")
    assert second.total == Total(AUTHORS, exact=True)


def test_an_estimate(session: Session) -> None:
    found = get_page(session, select(Author).where(Author.group == 1), size=2, total="estimate").total
    assert found is not None
    if session.get_bind().dialect.name == "postgresql":
        assert not found.exact
        assert found.value > 0
    else:
        assert found == Total(5, exact=True), "counted up to the bound where the planner is not asked"
