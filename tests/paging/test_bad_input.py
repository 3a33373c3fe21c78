"""What cannot mean what was written is said before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import JSON, Column, Integer, MetaData, Table, func, literal_column, select, text, union
from sqlalchemy.orm import Session

from dal import UsageError
from dal.paging import get_page
from dal.paging.batches import planned_batches
from tests.paging.models import Author, Book, keyless

papers = Table("papers", MetaData(), Column("id", Integer, primary_key=True), Column("body", JSON))
numbers = select(literal_column("1").label("n")).cte("numbers", recursive=True)
numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < 9))

Case = tuple[str, Callable[[], Any], dict[str, Any], str]

CASES: list[Case] = [
    ("a size of none", lambda: select(Author), {"size": 0}, "size is 0"),
    ("a negative size", lambda: select(Author), {"size": -1}, "size is -1"),
    ("a truth value as size", lambda: select(Author), {"size": True}, "size is True"),
    ("a text as size", lambda: select(Author), {"size": "10"}, "size is '10'"),
    ("both ways", lambda: select(Author), {"after": "x", "before": "y"}, "after and before"),
    ("a cursor and a number", lambda: select(Author), {"after": "x", "number": 2}, "after and number"),
    ("page none", lambda: select(Author), {"number": 0}, "number is 0"),
    ("a text as number", lambda: select(Author), {"number": "2"}, "number is '2'"),
    ("too deep", lambda: select(Author), {"number": 202, "size": 50}, "read 10,050 rows"),
    ("too deep from the end", lambda: select(Author), {"number": -202, "size": 50}, "read 10,050 rows"),
    ("an unknown total", lambda: select(Author), {"total": "all"}, "no total 'all'"),
    ("a total of none", lambda: select(Author), {"total": 0}, "no total 0"),
    ("a text as order", lambda: select(Author), {"order_by": "name"}, "the text 'name'"),
    ("a text in an order", lambda: select(Author), {"order_by": [Author.id, "-name"]}, "the text '-name'"),
    ("a name that is none", lambda: select(Author).order_by("nam"), {}, "names no column"),
    ("SQL as order", lambda: select(Author), {"order_by": [text("name desc")]}, "cannot be compared"),
    ("a place as order", lambda: select(Author), {"order_by": [literal_column("1")]}, "by its place"),
    ("a class as order", lambda: select(Author), {"order_by": [Author]}, "the class Author"),
    ("a number as order", lambda: select(Author), {"order_by": [1]}, "not of 1 (int)"),
    ("a relationship as order", lambda: select(Author), {"order_by": [Author.books]}, "is a relationship"),
    ("chance as order", lambda: select(Author), {"order_by": [func.random()]}, "differs each time"),
    ("a JSON as order", lambda: select(papers), {"order_by": [papers.c.body]}, "JSON, which has no order"),
    ("a text statement", lambda: text("SELECT 1"), {}, "a TextClause cannot be paged"),
    ("a statement read as an entity", lambda: select(Author).from_statement(text("SELECT 1")), {}, "cannot be paged"),
    ("a bare union", lambda: union(select(Author.id), select(Book.id)), {}, "a CompoundSelect cannot be paged"),
    ("a class", lambda: Author, {}, "cannot be paged"),
    ("a table without a key", lambda: select(keyless), {"order_by": [keyless.c.amount]}, "tells the rows of keyless apart"),
    ("a CTE that calls itself", lambda: select(numbers), {"order_by": [numbers.c.n]}, "tells the rows of numbers apart"),
    (
        "DISTINCT by something else",
        lambda: select(Author.name).distinct(),
        {"order_by": [Author.created]},
        "DISTINCT makes rows one",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_it_is_said_before_anything_is_sent(case: Case, session: Session, sent: list[str]) -> None:
    _, statement, options, told = case
    sent.clear()
    with pytest.raises(UsageError) as caught:
        get_page(session, statement(), **options)
    assert told in str(caught.value)
    assert caught.value.hint
    assert sent == []


@pytest.mark.parametrize("size", [0, -5, True, "5", None])
def test_the_size_of_a_batch(size: Any, session: Session) -> None:
    with pytest.raises(UsageError, match="size"):
        planned_batches(session, select(Author), size)
