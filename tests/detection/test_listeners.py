"""Where detection stands on the way of a statement, and who else stands there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, insert, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from dal.detection import detect, listeners
from tests.detection.scenarios.models import Base, Setting, User, seed


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        seed(session)
    yield engine
    engine.dispose()


def test_every_way_to_send_is_counted_once(engine: Engine) -> None:
    rows = [{"name": f"n{number}", "value": "1"} for number in range(3)]
    with detect() as report, engine.begin() as connection:
        connection.execute(select(User.id))
        connection.execute(text("SELECT 1"))
        connection.exec_driver_sql("SELECT 1")
        connection.execution_options(no_parameters=True).exec_driver_sql("SELECT 2")
        connection.execute(insert(Setting), rows)
        connection.execute(insert(Setting).returning(Setting.name), [row | {"name": row["name"] + "!"} for row in rows])
    assert report.count == 6
    assert report.seconds > 0


def test_a_statement_that_fails_is_raised_and_not_counted(engine: Engine) -> None:
    with detect() as report, engine.begin() as connection:
        with pytest.raises(OperationalError, match="nowhere"):
            connection.execute(text("SELECT 1 FROM nowhere"))
        with pytest.raises(IntegrityError):
            connection.execute(insert(Setting), [{"name": "theme", "value": "1"}])
    assert report.count == 0
    assert not report._scope.failed


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("acts", [True, False])
def test_other_listeners_of_the_dialect_are_asked_once(engine: Engine, when: str, *, acts: bool) -> None:
    asked: list[str] = []

    def other(cursor: Any, sql: str, parameters: Any, execution: Any) -> bool:
        asked.append(sql)
        if acts:
            cursor.execute("SELECT 42")
        return acts

    if when == "before":
        event.listen(engine, "do_execute", other)
    with detect() as report, engine.connect() as connection:
        if when == "after":
            event.listen(engine, "do_execute", other)
        assert connection.scalar(text("SELECT 1")) == (42 if acts else 1)
    event.remove(engine, "do_execute", other)
    assert asked == ["SELECT 1"]
    assert report.count == 1


def test_listeners_of_the_engine_see_what_they_saw(engine: Engine) -> None:
    seen: list[str] = []

    def comment(connection: Any, cursor: Any, sql: str, parameters: Any, execution: Any, many: bool) -> tuple[str, Any]:
        seen.append(sql)
        return f"{sql} -- traced", parameters

    event.listen(engine, "before_cursor_execute", comment, retval=True)
    with detect() as report, engine.connect() as connection:
        for number in range(4):
            connection.execute(text("SELECT name FROM users WHERE id = :id"), {"id": number})
    assert len(seen) == report.count == 4
    assert [finding.rule for finding in report.findings] == ["repeated-statement"]


def test_nothing_is_left_on_engines(engine: Engine) -> None:
    with detect(), engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    assert "_has_events" not in vars(engine)
    if not listeners.listening():
        assert not list(engine.dialect.dispatch.do_execute)


def test_what_sqlalchemy_asks_a_new_server_is_not_counted(dal_database: URL) -> None:
    engine = create_engine(dal_database)
    with detect() as report, engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()
    assert report.count == 1
