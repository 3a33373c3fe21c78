"""Every type through every route: what was written reads back equal through the ORM and through psycopg."""

from __future__ import annotations

import datetime as dt
import enum
import ipaddress
import math
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    BigInteger,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Text,
    Time,
    TypeDecorator,
    Uuid,
    delete,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import (
    ARRAY,
    INET,
    INT4MULTIRANGE,
    INT8RANGE,
    JSONB,
    TSTZRANGE,
    Range,
)
from sqlalchemy.dialects.postgresql.ranges import MultiRange
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import BulkWriter, Database, PoolConfig
from dal.testing import Server

UTC = dt.UTC


class Colour(enum.Enum):
    red = 1
    blue = 2


class Reversed(TypeDecorator[str]):
    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value[::-1]

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value[::-1]


class Base(DeclarativeBase):
    pass


class Columns:
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    small: Mapped[int | None] = mapped_column(SmallInteger)
    whole: Mapped[int | None] = mapped_column(Integer)
    big: Mapped[int | None] = mapped_column(BigInteger)
    number: Mapped[Decimal | None] = mapped_column(Numeric)
    double: Mapped[float | None] = mapped_column(Double)
    single: Mapped[float | None] = mapped_column(Float(24))
    truth: Mapped[bool | None]
    words: Mapped[str | None] = mapped_column(Text)
    short: Mapped[str | None] = mapped_column(String(2_000))
    reverse: Mapped[str | None] = mapped_column(Reversed)
    blob: Mapped[bytes | None] = mapped_column(LargeBinary)
    uid: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    uid_text: Mapped[str | None] = mapped_column(Uuid(as_uuid=False))
    day: Mapped[dt.date | None] = mapped_column(Date)
    hour: Mapped[dt.time | None] = mapped_column(Time)
    moment: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    local: Mapped[dt.datetime | None] = mapped_column(DateTime)
    span: Mapped[dt.timedelta | None] = mapped_column(Interval)
    document: Mapped[Any] = mapped_column(JSONB(none_as_null=True), nullable=True)
    plain: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    colour: Mapped[Colour | None] = mapped_column(Enum(Colour, name="colour"))
    size: Mapped[str | None] = mapped_column(Enum("s", "l", native_enum=False))
    numbers: Mapped[list[int | None] | None] = mapped_column(ARRAY(Integer))
    names: Mapped[list[str | None] | None] = mapped_column(ARRAY(Text))
    grid: Mapped[list[list[Decimal]] | None] = mapped_column(ARRAY(Numeric, dimensions=2))
    interval: Mapped[Any] = mapped_column(INT8RANGE, nullable=True)
    period: Mapped[Any] = mapped_column(TSTZRANGE, nullable=True)
    several: Mapped[Any] = mapped_column(INT4MULTIRANGE, nullable=True)


class Binary(Columns, Base):
    __tablename__ = "binaries"


class Textual(Columns, Base):
    """One column that psycopg cannot encode in binary form makes the whole COPY a text one."""

    __tablename__ = "textual"

    address: Mapped[Any] = mapped_column(INET, nullable=True)
    labels: Mapped[list[str] | None] = mapped_column(ARRAY(String(50)))
    colours: Mapped[list[Colour] | None] = mapped_column(ARRAY(Enum(Colour, name="colour")))


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
EARLY, LATE = dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal(10) ** 9_000, Decimal("1e-9000"), Decimal("-0")]
)
JSONS = st.recursive(
    st.booleans() | st.integers() | st.floats(-1e9, 1e9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner | st.none(), max_size=3),
    max_leaves=6,
)
MOMENTS = st.datetimes(EARLY, LATE, timezones=st.sampled_from([UTC, dt.timezone(dt.timedelta(hours=5, minutes=30))]))


def whole(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def ranges(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(values, values).map(lambda two: Range(min(two), max(two))).filter(lambda each: each.lower != each.upper)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "small": whole(16),
    "whole": whole(32),
    "big": whole(64),
    "number": DECIMALS,
    "double": st.floats(),
    "single": st.integers(-999_999, 999_999).map(float) | st.sampled_from([math.nan, math.inf, -0.0, 0.5]),
    "truth": st.booleans(),
    "words": WORDS,
    "short": WORDS,
    "reverse": WORDS,
    "blob": st.binary(max_size=30),
    "uid": st.uuids(),
    "uid_text": st.uuids().map(str),
    "day": st.dates(),
    "hour": st.times(),
    "moment": MOMENTS,
    "local": st.datetimes(),
    "span": st.timedeltas(dt.timedelta(days=-(10**6)), dt.timedelta(days=10**6)),
    "document": JSONS,
    "plain": JSONS,
    "colour": st.sampled_from(Colour),
    "size": st.sampled_from(["s", "l"]),
    "numbers": st.lists(whole(32) | st.none(), max_size=4),
    "names": st.lists(WORDS | st.none(), max_size=4),
    "grid": st.lists(
        st.lists(st.decimals(allow_nan=False, allow_infinity=False), min_size=2, max_size=2), min_size=1, max_size=2
    ),
    "interval": ranges(st.integers(-(10**9), 10**9)),
    "period": ranges(st.datetimes(EARLY, LATE, timezones=st.just(UTC))),
    "several": st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True).map(
        lambda starts: MultiRange(Range(100 * each, 100 * each + 50) for each in sorted(starts))
    ),
}
MORE: dict[str, st.SearchStrategy[Any]] = {
    "address": st.ip_addresses().map(str),
    "labels": st.lists(WORDS, max_size=3),
    "colours": st.lists(st.sampled_from(Colour), max_size=3),
}
ROWS = st.lists(st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), min_size=1, max_size=3)
TEXTUAL_ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, values in (VALUES | MORE).items()}), min_size=1, max_size=2
)
QUICK = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def types_db(dal_server: Server) -> Iterator[Database]:
    name = f"bulk_types_{uuid.uuid4().hex}"
    url = dal_server.create_database(name)
    with Database(url, pool=PoolConfig(min_pool_size=1, max_pool_size=2)) as db:
        Base.metadata.create_all(db.engine)
        yield db
    dal_server.drop_database(name)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return (one == other and math.copysign(1, one) == math.copysign(1, other)) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return one == other or (one.is_nan() and other.is_nan())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(other, (ipaddress.IPv4Interface, ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv6Interface)):
        return ipaddress.ip_address(one) == ipaddress.ip_interface(other).ip
    return bool(one == other)


def check(db: Database, entity: Any, rows: list[dict[str, Any]]) -> None:
    """Compare what is in the table with what was written: through the ORM, and through psycopg alone."""
    with db.session() as session:
        found = session.scalars(select(entity).order_by(entity.id)).all()
        assert len(found) == len(rows)
        for row, each in zip(rows, found, strict=True):
            for name, value in row.items():
                assert same(value, getattr(each, name)), (name, value, getattr(each, name))
        driver: Any = session.connection().connection.driver_connection
        plain = [
            name
            for name in rows[0]
            if name not in {"reverse", "colour", "colours", "uid_text", "interval", "period", "several"}
        ]
        for binary in (False, True):
            cursor: psycopg.Cursor[Any] = driver.cursor(binary=binary)
            names = ", ".join(f'"{name}"' for name in plain)
            cursor.execute(f"SELECT {names} FROM {entity.__tablename__} ORDER BY id")
            for row, values in zip(rows, cursor, strict=True):
                for name, value in zip(plain, values, strict=True):
                    assert same(row[name], value), (name, row[name], value)


def routes(db: Database, entity: Any, rows: list[dict[str, Any]]) -> None:
    rows = [{"id": number, **row} for number, row in enumerate(rows, 1)]
    bulk = BulkWriter(db, entity)
    try:
        bulk.insert(rows)
        check(db, entity, rows)
        for below in (0, 1_000):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("dal.bulk.few.BELOW", below)
                assert bulk.upsert(rows, key=[entity.id]).written == len(rows)
                check(db, entity, rows)
                bulk.delete([row["id"] for row in rows[::2]])
                assert bulk.upsert(rows, key=[entity.id]).inserted == len(rows[::2])
                check(db, entity, rows)
        bulk.update([{**row, **dict.fromkeys(set(row) - {"id"})} for row in rows])
        assert bulk.update(rows).missing == 0
        check(db, entity, rows)
        bulk.delete([row["id"] for row in rows])
        assert bulk.upsert([entity(**row) for row in rows], key=[entity.id]).inserted == len(rows)
        check(db, entity, rows)
    finally:
        with db.transaction() as session:
            session.execute(delete(entity))


@QUICK
@given(ROWS)
@example([dict.fromkeys(VALUES)])
def test_binary_copy(types_db: Database, rows: list[dict[str, Any]]) -> None:
    routes(types_db, Binary, rows)


@QUICK
@given(TEXTUAL_ROWS)
@example([dict.fromkeys(VALUES | MORE)])
def test_text_copy(types_db: Database, rows: list[dict[str, Any]]) -> None:
    routes(types_db, Textual, rows)


ARROW = ["small", "whole", "big", "double", "truth", "words", "short", "day", "hour", "moment", "local", "uid_text", "blob"]


@QUICK
@given(st.lists(st.fixed_dictionaries({name: st.none() | VALUES[name] for name in ARROW}), min_size=1, max_size=5))
def test_arrow(types_db: Database, rows: list[dict[str, Any]]) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    rows = [{"id": number, **row} for number, row in enumerate(rows, 1)]
    schema = pa.schema(
        [
            ("id", pa.int64()), ("small", pa.int16()), ("whole", pa.int32()), ("big", pa.int64()), ("double", pa.float64()),
            ("truth", pa.bool_()), ("words", pa.string()), ("short", pa.large_string()), ("day", pa.date32()),
            ("hour", pa.time64("us")), ("moment", pa.timestamp("us", "UTC")), ("local", pa.timestamp("us")),
            ("uid_text", pa.string()),
        ]
    )  # fmt: skip
    for names in (schema.names, [*schema.names, "blob"]):
        whole_schema = schema if "blob" not in names else schema.append(pa.field("blob", pa.binary()))
        given_rows = [{name: row[name] for name in names} for row in rows]
        try:
            BulkWriter(types_db, Binary).insert(pa.Table.from_pylist(given_rows, whole_schema))
            check(types_db, Binary, given_rows)
            assert BulkWriter(types_db, Binary).upsert(
                pa.Table.from_pylist(given_rows, whole_schema), key=["id"]
            ).unchanged == len(rows)
        finally:
            with types_db.transaction() as session:
                session.execute(delete(Binary))


def test_what_a_column_takes_beside_its_own_type(types_db: Database) -> None:
    row = {
        "id": 1, "small": "7", "whole": 3.0, "big": Decimal(5), "number": 0.1, "double": Decimal("0.5"), "truth": "yes",
        "words": 12, "uid": "12345678-1234-5678-1234-567812345678", "day": "2020-02-03", "hour": "10:11", "numbers": (1, 2),
        "moment": dt.date(2020, 1, 2), "local": dt.datetime(2020, 1, 2, 3, tzinfo=UTC), "blob": bytearray(b"x"),
    }  # fmt: skip
    with types_db.session() as session:
        session.execute(text("SET LOCAL timezone = 'Asia/Tokyo'"))
        BulkWriter(session, Binary).insert([row])
        found = session.scalars(select(Binary)).one()
        assert (found.small, found.whole, found.big, found.number, found.double, found.truth) == (
            7,
            3,
            5,
            Decimal("0.1"),
            0.5,
            True,
        )
        assert (found.words, found.day, found.hour, found.numbers) == ("12", dt.date(2020, 2, 3), dt.time(10, 11), [1, 2])
        assert (found.uid, found.blob) == (uuid.UUID("12345678-1234-5678-1234-567812345678"), b"x")
        assert found.moment == dt.datetime(2020, 1, 1, 15, tzinfo=UTC)
        assert found.local == dt.datetime(2020, 1, 2, 12)
        session.rollback()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("small", 2**15), ("whole", 1.5), ("whole", "x"), ("big", 2**63), ("number", "x"), ("double", "x"),
        ("whole", -(2**31) - 1), ("single", 1e39), ("numbers", [2**31]), ("truth", 7), ("truth", "maybe"),
        ("words", 1.5), ("words", "a\0"), ("words", "\ud800"), ("reverse", 7), ("blob", "x"), ("uid", "x"),
        ("day", "yesterday"), ("hour", 7),
        ("moment", "x"), ("span", 7), ("colour", "green"), ("numbers", 7), ("numbers", ["x"]),
        ("document", {"a": "\0"}), ("document", math.nan),
        ("document", object()), ("interval", 7), ("short", "x" * 2_001),
    ],
)  # fmt: skip
def test_a_value_that_is_none_of_its_column(types_db: Database, name: str, value: Any) -> None:
    rows = [{"id": 1, name: None}, {"id": 2, name: value}]
    result = BulkWriter(types_db, Binary).insert(rows, on_error="reject")
    with types_db.transaction() as session:
        left = list(session.scalars(delete(Binary).returning(Binary.id)))
    assert left == [1]
    (rejected,) = result.rejected
    assert (rejected.position, rejected.column, rejected.value) == (1, name, value)
    assert rejected.reason


class Null(Base):
    __tablename__ = "nulls"

    id: Mapped[int] = mapped_column(primary_key=True)
    loose: Mapped[Any] = mapped_column(JSONB, nullable=True)
    strict: Mapped[Any] = mapped_column(JSONB(none_as_null=True), nullable=True)


def test_null_and_json_null(types_db: Database) -> None:
    from sqlalchemy import null

    rows = [
        {"id": 1, "loose": None, "strict": None},
        {"id": 2, "loose": JSON.NULL, "strict": JSON.NULL},
        {"id": 3, "loose": null(), "strict": null()},
    ]
    BulkWriter(types_db, Null).insert(rows)
    with types_db.session() as session:
        found = session.execute(text("SELECT loose::text, strict::text FROM nulls ORDER BY id")).all()
    assert [tuple(row) for row in found] == [("null", None), ("null", "null"), (None, None)]


def test_times_before_christ_are_refused_by_name(types_db: Database) -> None:
    result = BulkWriter(types_db, Binary).insert([{"id": 1, "day": "-0044-03-15"}], on_error="reject")
    assert [(each.column, each.value) for each in result.rejected] == [("day", "-0044-03-15")]
