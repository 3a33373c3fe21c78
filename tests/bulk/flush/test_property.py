"""Whatever is flushed: with COPY and without it the tables, the ids, the events and the objects are the same."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import event as seen
from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from dal import Database, PoolConfig
from dal.bulk.flush import bulk_flush
from dal.testing import Server
from tests.bulk.flush.drawn import Made, Plan, plans


@pytest.fixture(scope="module")
def connection(dal_server: Server) -> Iterator[Connection]:
    """A connection to a database of this module's own."""
    name = f"bulk_flush_{uuid.uuid4().hex}"
    url = dal_server.create_database(name)
    with Database(url, pool=PoolConfig(min_pool_size=1)) as db, db.engine.connect() as opened:
        yield opened
    dal_server.drop_database(name)


def plain(value: Any) -> Any:
    """Return a value that can be compared: moments of today are one, NaN equals itself."""
    if isinstance(value, dt.datetime) and value.year > 2020:
        return "now"
    return repr(value) if value != value else value


class Flushed:
    """What a flush of a plan left.

    Args:
        connection: Where; nothing stays there.
        plan: What is flushed.
        in_bulk: Whether by COPY.
    """

    def __init__(self, connection: Connection, plan: Plan, *, in_bulk: bool) -> None:
        self.events: list[Any] = []
        self.error: Any = None
        made = Made(plan)
        outer = connection.begin()
        connection.execute(text("CREATE SEQUENCE keys"))
        made.metadata.create_all(connection)
        with Session(connection, expire_on_commit=False, join_transaction_mode="rollback_only") as session:
            self.report = bulk_flush(session) if in_bulk else None
            self._listen(made)
            try:
                session.add_all(made.objects[: plan.flush_at])
                session.flush()
                session.add_all(made.objects[plan.flush_at :])
                session.flush()
            except (StatementError, TypeError, ValueError) as error:
                self.error = (type(error).__mro__[:3], getattr(getattr(error, "orig", None), "sqlstate", None))
                session.rollback()
            self.states = [self._state(each) for each in made.objects]
            self.children = [[self._state(child) for child in getattr(each, "children", [])] for each in made.objects]
            self.rows = [] if self.error else [self._rows(connection, table) for table in made.metadata.sorted_tables]
            self.loaded = [] if self.error else [self._state(each) for each in map(self._again(session), made.objects)]
        if outer.is_active:
            outer.rollback()
        made.dispose()

    def _listen(self, made: Made) -> None:
        for name in ("before_insert", "after_insert"):
            event.listen(made.base, name, self._heard(name), propagate=True)
        event.listen(made.base, "refresh_flush", self._refreshed, propagate=True)

    def _heard(self, name: str) -> Any:
        def hear(mapper: Any, connection: Any, target: Any) -> None:
            self.events.append((name, type(target).__name__, getattr(target, "label", 0), set(vars(target))))

        return hear

    def _refreshed(self, target: Any, context: Any, names: Any) -> None:
        self.events.append(("refresh_flush", type(target).__name__, getattr(target, "label", 0), list(names)))

    def _again(self, session: Session) -> Any:
        def refreshed(one: Any) -> Any:
            session.refresh(one)
            return one

        return refreshed

    def _state(self, one: Any) -> Any:
        state: Any = inspect(one)
        keys = {attribute.key for attribute in state.mapper.column_attrs}
        values = {name: plain(value) for name, value in state.dict.items() if name in keys}
        known = None if state.key is None else (state.key[0].__name__, *state.key[1:])
        flags = (state.persistent, state.pending, state.transient, state.modified)
        return values, known, flags, set(state.expired_attributes), dict(state.committed_state)

    def _rows(self, connection: Connection, table: Any) -> Any:
        rows = connection.execute(text(f"SELECT *, CAST(t AS text) FROM {table.name} AS t ORDER BY id"))
        return [tuple(map(plain, row[:-1])) for row in rows] + [None if "made" in table.c else row[-1] for row in rows]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some rows are many."""
    monkeypatch.setattr("dal.bulk.flush.emitting.BELOW", 2)


@settings(
    max_examples=25,
    deadline=None,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plan=plans())
def test_a_flush_by_copy_leaves_what_a_flush_leaves(connection: Connection, plan: Plan) -> None:
    ordinary = Flushed(connection, plan, in_bulk=False)
    by_copy = Flushed(connection, plan, in_bulk=True)
    assert by_copy.report is not None
    seen(
        "by COPY"
        if by_copy.report.copied and not by_copy.report.fallbacks
        else "in part"
        if by_copy.report.copied
        else "by INSERT"
    )
    for fallback in by_copy.report.fallbacks:
        seen(fallback.reason)
    if ordinary.error is not None:
        assert by_copy.error == ordinary.error
        return
    assert by_copy.error is None
    assert by_copy.rows == ordinary.rows
    assert by_copy.states == ordinary.states
    assert by_copy.children == ordinary.children
    assert by_copy.loaded == ordinary.loaded
    assert by_copy.events == ordinary.events
