"""Every scenario, walked in pages of several sizes in both directions, is what the unpaged SELECT returns."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from dal.paging import get_page, plan
from tests.paging.models import Author, ledger
from tests.paging.scenarios import SCENARIOS, Scenario
from tests.paging.walking import walk

WALKS = ((1, False), (2, True), (5, False))


def emulated(clause: Any, session: Session) -> list[Any]:
    """Return an ORDER BY as the database understands it: MariaDB has no NULLS FIRST."""
    if session.get_bind().dialect.name not in {"mysql", "mariadb"}:
        return [clause]
    text = getattr(getattr(clause, "modifier", None), "__name__", "")
    if text not in {"nulls_first_op", "nulls_last_op"}:
        return [clause]
    inner = clause.element
    bare = inner.element if getattr(inner, "modifier", None) is not None else inner
    return [bare.is_(None).desc() if text == "nulls_first_op" else bare.is_(None), inner]


def unpaged(session: Session, scenario: Scenario) -> list[Any]:
    statement = scenario.statement()
    for clause in (*scenario.order_by(), *scenario.added()):
        statement = statement.order_by(*emulated(clause, session))
    result = session.execute(statement)
    if scenario.name == "joinedload":
        result = result.unique()
    single = len(statement.column_descriptions) == 1
    return list(result.scalars().all() if single else result.all())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_pages_are_the_whole_cut_in_pieces(scenario: Scenario, session: Session) -> None:
    if session.get_bind().dialect.name not in scenario.only:
        pytest.skip(f"{session.get_bind().dialect.name} has no {scenario.name}")
    key = None if scenario.key is None else scenario.key()
    expected = unpaged(session, scenario)
    options: dict[str, Any] = {"order_by": list(scenario.order_by()), "key": key}
    planned = plan(scenario.statement(), dialect=session.get_bind().dialect, **options)
    for size, backwards in WALKS:
        found = walk(session, scenario.statement(), size=size, backwards=backwards, **options)
        assert found == expected, f"{size=} {backwards=} {[str(each.expression) for each in planned.keys]}"


def test_rows_keep_their_names(session: Session) -> None:
    scenario = next(each for each in SCENARIOS if each.name == "labels")
    statement = scenario.statement()
    first = get_page(session, statement, order_by=scenario.order_by(), size=3)
    second = get_page(session, statement, order_by=scenario.order_by(), size=3, after=first.next)
    assert [row._fields for row in (*first, *second)] == [("number", "team")] * 6
    assert second.items[0].team == second.items[0]._mapping["team"]


@pytest.mark.parametrize(
    ("statement", "column", "order"),
    [
        (select(ledger), ledger.c.number, ledger.c.amount),
        (select(Author.id, Author.name), Author.name, Author.nick),
        (select(Author.group, func.count()).group_by(Author.group), Author.group, func.count()),
    ],
    ids=["a table", "columns", "groups"],
)
def test_rows_are_asked_by_column(statement: Any, column: Any, order: Any, session: Session) -> None:
    first = get_page(session, statement, order_by=[order], size=1)
    second = get_page(session, statement, order_by=[order], size=1, after=first.next)
    for row in (*first, *second):
        assert row._mapping[column] in tuple(row)


def test_criteria_of_a_session_hold_on_every_page(session: Session) -> None:
    def tenant(state: ORMExecuteState) -> None:
        if state.is_select:
            state.statement = state.statement.options(with_loader_criteria(Author, Author.group == 1, include_aliases=True))

    event.listen(session, "do_orm_execute", tenant)
    cases: list[tuple[Any, list[Any]]] = [
        (select(Author.id), [Author.name]),
        (select(Author.id), [Author.nick]),
        (select(Author.id, Author.nick).distinct(), [Author.nick.desc()]),
        (select(Author.id), [Author.group.desc(), Author.id]),
        (select(Author.id, func.count()).group_by(Author.id), [func.count(), Author.id.desc()]),
    ]
    for statement, order in cases:
        found = walk(session, statement, size=2, order_by=order)
        assert sorted(each if isinstance(each, int) else each[0] for each in found) == [2, 5, 8, 11, 14]
        total = get_page(session, statement, order_by=order, size=2, total="exact").total
        assert total is not None
        assert total.value == 5
