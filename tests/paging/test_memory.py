"""Plans are remembered by what SQLAlchemy takes for the same statement, and by its values."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.orm import Session, aliased, selectinload

from dal.paging import get_page, plan
from dal.paging.memory import Memory
from tests.paging.models import Author

DIALECT = SQLiteDialect_pysqlite()


def planned(statement: Any, *order: Any) -> Any:
    return plan(statement, order_by=list(order), dialect=DIALECT)


def test_the_same_is_planned_once() -> None:
    def make(group: Any) -> Any:
        return planned(select(Author).where(Author.group == group), Author.nick)

    assert make(1) is make(1)
    assert make(1) is not make(2)
    assert make(1).keys is make(2).keys, "the keys are those of the shape"
    assert make(1).fingerprint != make(2).fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (select(Author).where(Author.active == 1), select(Author).where(Author.active == True)),  # noqa: E712
        (select(Author), select(Author).options(selectinload(Author.books))),
        (select(Author), select(Author).execution_options(populate_existing=True)),
        (select(Author), select(Author.id)),
        (select(Author).where(Author.id.in_([1, 2])), select(Author).where(Author.id.in_([2, 1]))),
    ],
)
def test_what_differs_is_planned_apart(one: Any, other: Any) -> None:
    assert planned(one, Author.nick) is not planned(other, Author.nick)
    assert planned(one, Author.nick) is not planned(one, Author.nick.desc())


def test_long_lists_are_not_kept() -> None:
    statement = select(Author).where(Author.id.in_(range(1000)))
    assert planned(statement) is not planned(statement)
    assert planned(statement).fingerprint == planned(statement).fingerprint


def test_an_alias_of_its_own_is_asked_for_each_time(session: Session) -> None:
    for _ in range(3):
        other = aliased(Author)
        page = get_page(session, select(other).where(other.group == 1), order_by=[other.nick], size=2)
        assert (
            len(get_page(session, select(other).where(other.group == 1), order_by=[other.nick], size=2, after=page.next)) == 2
        )


def test_the_oldest_is_let_go_of() -> None:
    memory: Memory[int] = Memory(2)
    for number in (1, 2):
        memory.put(number, number)
    assert memory.get(1) == 1
    memory.put(3, 3)
    assert [memory.get(number) for number in (1, 2, 3)] == [1, None, 3]


def test_many_threads() -> None:
    memory: Memory[int] = Memory(3)
    failed: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 2000):
                memory.put(number % 7, number % 7)
                assert memory.get(number % 5) in {None, number % 5}
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
