"""Values that do not survive a careless round trip: each is the key of a row that a page begins after."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    CHAR,
    REAL,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Engine,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Time,
    create_engine,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import BYTEA, INET, INT4RANGE, OID
from sqlalchemy.orm import Session

from dal import UsageError
from dal.paging import get_page
from tests.paging.conftest import CONFIG, postgresql

TIED = dt.timezone(dt.timedelta(hours=-3, minutes=-30))

TYPES: list[tuple[str, Any, list[Any]]] = [
    ("real", REAL(), [0.1, 0.2, 1 / 3, -0.0, 0.0, math.nan, math.inf, -math.inf, 16777217.0, 1e-45]),
    ("double", Double(), [0.1, 1 / 3, math.nan, 5e-324, 1.7976931348623157e308, 0.30000000000000004, 0.3]),
    ("float", Float(), [0.1, 1 / 3, math.nan]),
    ("float by name only", Float(24), [0.1, 1 / 3, 16777217.0]),
    ("numeric", Numeric(), [Decimal("1.10"), Decimal("1.1"), Decimal("1e-30"), Decimal("NaN"), Decimal(10) ** 30]),
    ("numeric with a scale", Numeric(10, 2), [Decimal("1.10"), Decimal("-0.01"), Decimal(0)]),
    ("numeric as floats", Numeric(20, 10, asdecimal=False), [0.1, 0.2, 0.3]),
    ("bigint", BigInteger(), [2**62, -(2**62), 2**31, 1]),
    ("boolean", Boolean(), [True, False]),
    ("text", Text(), ["", " ", "a", "A", "ä", "z", "a b", "a\tb", "é", "𝄞", "'", "%s", "\\", ":x"]),
    ("text by the C collation", Text(collation="C"), ["a", "B", "Z", "ä", ""]),
    ("char", CHAR(4), ["a", "a b", ""]),
    ("varchar", String(9), ["a", "aa", "b"]),
    ("bytes", LargeBinary(), [b"", b"\x00", b"\xff\x00"]),
    ("bytea", BYTEA(), [b"a", b"b"]),
    ("timestamp", DateTime(), [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, 0, 0, 0, 1), dt.datetime(1, 1, 1)]),
    (
        "timestamptz",
        DateTime(timezone=True),
        [dt.datetime(2024, 10, 27, 0, 30, tzinfo=dt.UTC), dt.datetime(2024, 10, 27, 1, 30, 0, 999999, tzinfo=TIED)],
    ),
    ("date", Date(), [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    ("time", Time(), [dt.time(0), dt.time(23, 59, 59, 999999)]),
    ("interval", Interval(), [dt.timedelta(days=-1), dt.timedelta(microseconds=1), dt.timedelta(days=400)]),
    ("array", ARRAY(Integer), [[1, 2], [1], [], [2, None]]),
    ("array of text", ARRAY(Text), [["a,b"], ['"'], ["NULL"]]),
    ("inet", INET(), ["10.0.0.1", "10.0.0.0/8", "::1"]),
    ("oid", OID(), [1, 2**31 + 5]),
]


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    yield from postgresql(request)


@pytest.mark.parametrize("descending", [False, True], ids=["asc", "desc"])
@pytest.mark.parametrize("case", TYPES, ids=[each[0] for each in TYPES])
def test_on_postgresql(case: tuple[str, Any, list[Any]], descending: bool, engine: Engine) -> None:
    name, kind, values = case
    table = Table("typed", MetaData(), Column("id", Integer, primary_key=True), Column("value", kind))
    order = table.c.value.desc() if descending else table.c.value
    with engine.connect() as connection, Session(connection, info=CONFIG.info()) as session:
        table.create(connection)
        rows = [{"id": number, "value": value} for number, value in enumerate([*values, None, *values, None])]
        session.execute(insert(table), rows)
        expected = list(session.scalars(select(table.c.id).order_by(order, table.c.id.desc() if descending else table.c.id)))
        for size, backwards in ((1, False), (3, True)):
            assert walked(session, select(table.c.id), [order], size, backwards) == expected, name
        session.rollback()


def walked(session: Session, statement: Any, order: list[Any], size: int, backwards: bool) -> list[Any]:
    found: list[Any] = []
    page = get_page(session, statement, order_by=order, size=size, number=-1 if backwards else 1)
    for _ in range(100):
        found = [*page.items, *found] if backwards else [*found, *page.items]
        cursor = page.previous if backwards else page.next
        if cursor is None:
            return found
        if backwards:
            page = get_page(session, statement, order_by=order, size=size, before=cursor)
        else:
            page = get_page(session, statement, order_by=order, size=size, after=cursor)
    raise AssertionError("the walk does not end")


def test_a_range_is_refused_with_its_way_out(engine: Engine) -> None:
    table = Table("ranged", MetaData(), Column("id", Integer, primary_key=True), Column("value", INT4RANGE))
    with engine.connect() as connection, Session(connection, info=CONFIG.info()) as session:
        table.create(connection)
        session.execute(text("INSERT INTO ranged VALUES (1, '[1,2)'), (2, '[3,4)')"))
        with pytest.raises(UsageError, match="cannot be kept in a cursor") as caught:
            get_page(session, select(table), order_by=[table.c.value], size=1)
        assert "cast" in caught.value.hint
        assert walked(session, select(table.c.id), [func.lower(table.c.value)], 1, backwards=False) == [1, 2]


def test_what_sqlite_keeps_as_text() -> None:
    """A time that SQLite itself wrote has no microseconds, and would be another text if Python wrote it again."""
    engine = create_engine("sqlite://")
    table = Table(
        "kept",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, server_default=func.now()),
        Column("amount", Numeric(10, 2)),
    )
    table.create(engine)
    with Session(engine, info=CONFIG.info()) as session:
        session.execute(text("INSERT INTO kept (id, amount) VALUES (1, 1.001), (2, 1.002), (3, 1.0), (4, 1), (5, 1.001)"))
        for order in ([table.c.at], [table.c.at.desc()], [table.c.amount], [table.c.amount.desc()]):
            descending = len(str(order[0])) > len("kept.amount")
            tie = table.c.id.desc() if descending else table.c.id
            expected = list(session.scalars(select(table.c.id).order_by(*order, tie)))
            for backwards in (False, True):
                assert walked(session, select(table.c.id), order, 1, backwards) == expected
    engine.dispose()
