"""PostgreSQL answers each page from the index, at any position: no sort of the whole, no scan of what comes before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, Index, event, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dal.paging import Position, plan, read

ROWS = 20_000


class Base(DeclarativeBase):
    pass


class Event(Base):
    __tablename__ = "plan_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int]
    score: Mapped[int | None]
    kind: Mapped[int]
    ratio: Mapped[float]


Index("plan_at", Event.at.desc(), Event.id.desc())
Index("plan_score", Event.score, Event.id)
Index("plan_kind", Event.kind.desc(), Event.id)
Index("plan_ratio", Event.ratio, Event.id)


@pytest.fixture(scope="module")
def events(request: pytest.FixtureRequest) -> Iterator[Engine]:
    from tests.paging.conftest import postgresql

    for engine in postgresql(request):
        Base.metadata.create_all(engine)
        rows = [
            {
                "id": number,
                "at": number // 3,
                "score": None if number % 7 == 0 else number % 5000,
                "kind": number % 3,
                "ratio": number / 7,
            }
            for number in range(1, ROWS + 1)
        ]
        with engine.begin() as connection:
            connection.execute(insert(Event), rows)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE plan_events"))
        yield engine


ORDERS: dict[str, tuple[list[Any], tuple[Any, ...]]] = {
    "one direction": ([Event.at.desc()], (ROWS // 6, ROWS // 2)),
    "mixed directions and long ties": ([Event.kind.desc()], (1, ROWS // 2)),
    "NULLs last, before them": ([Event.score], (2500, 2500)),
    "NULLs last, among them": ([Event.score], (None, ROWS // 2)),
    "NULLs first, before the rest": ([Event.score.desc()], (None, ROWS // 2)),
    "NULLs first, after them": ([Event.score.desc()], (2500, 12_500)),
    "a float": ([Event.ratio], (ROWS / 14, ROWS // 2)),
}


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("what", ["objects", "columns"])
def test_a_page_reads_what_it_returns(name: str, what: str, backwards: bool, events: Engine) -> None:
    order, values = ORDERS[name]
    if name.startswith("mixed"):
        order = [*order, Event.id]
    statement: Any = select(Event) if what == "objects" else select(Event.id, Event.at)
    planned = plan(statement, order_by=order, dialect=events.dialect)
    position = Position(values)
    side: dict[str, Any] = {"before": position} if backwards else {"after": position}
    with Session(events) as session:
        found, told = explained(session, lambda: read(session, planned, 50, **side))
    assert len(found.items) == 50
    touched = sum(rows(node) for node in nodes(told["Plan"]) if "Scan" in node["Node Type"] and "Relation Name" in node)
    assert touched <= 50 * 12, told
    assert not any(node["Node Type"] == "Seq Scan" for node in nodes(told["Plan"]))


def explained(session: Session, call: Any) -> tuple[Any, Any]:
    """Return what a call returns, and how the one statement it sends is run."""
    sent: list[tuple[str, Any]] = []
    connection = session.connection()

    def record(_: Any, __: Any, sql: str, parameters: Any, *___: Any) -> None:
        sent.append((sql, parameters))

    event.listen(connection, "before_cursor_execute", record)
    result = call()
    event.remove(connection, "before_cursor_execute", record)
    ((sql, parameters),) = sent
    told = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters).scalar_one()
    return result, (json.loads(told) if isinstance(told, str) else told)[0]


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from nodes(each)


def rows(node: dict[str, Any]) -> int:
    """Return how many rows a node read, those it threw away too."""
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


def test_the_shapes_of_a_seek(events: Engine) -> None:
    def sql(order: list[Any], *values: Any) -> str:
        built, _ = plan(select(Event), order_by=order, dialect=events.dialect).statement(5, after=Position(values))
        return str(built)

    assert "(plan_events.at, plan_events.id) < (" in sql([Event.at.desc()], 1, 2)
    assert "UNION ALL" not in sql([Event.at.desc()], 1, 2)
    for statement in (sql([Event.score], 1, 2), sql([Event.kind.desc(), Event.id], 1, 2)):
        assert "UNION ALL" in statement
        assert " OR " not in statement
    assert "UNION ALL" not in sql([Event.score], None, 2), "behind the NULLs there is one branch"
