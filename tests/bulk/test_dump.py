"""What a statement selects, in a file: every format, every type, there and back."""

from __future__ import annotations

import datetime as dt
import enum
import gzip
import io
import json
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Column,
    Date,
    DateTime,
    Double,
    Enum,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    Time,
    TypeDecorator,
    Uuid,
    bindparam,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from dal import BulkWriter, Database, FileProgress
from dal.errors import UsageError
from tests.bulk.models import City, User

FORMATS = ["csv", "csv.gz", "csv.zst", "jsonl", "parquet", "arrow"]


class Color(enum.Enum):
    red = 1
    blue = 2


class Shout(TypeDecorator[str]):
    """Kept in capitals, seen in small letters."""

    impl = String(20)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value.upper()

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value.lower()


TABLE = Table(
    "kinds",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("small", SmallInteger),
    Column("big", BigInteger),
    Column("real", Double),
    Column("price", Numeric(12, 2)),
    Column("free", Numeric),
    Column("name", Text),
    Column("at", DateTime(timezone=True)),
    Column("local", DateTime),
    Column("day", Date),
    Column("hour", Time),
    Column("key", Uuid),
    Column("raw", LargeBinary),
    Column("color", Enum(Color)),
    Column("body", JSON().with_variant(JSONB(), "postgresql")),
)
UTC = dt.UTC
ROWS: list[dict[str, Any]] = [
    {
        "id": 1,
        "small": -3,
        "big": 2**40,
        "real": 0.1,
        "price": Decimal("12.30"),
        "free": Decimal("123456789.123456789"),
        "name": 'a "b", c\nd \\ ø',
        "at": dt.datetime(2013, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "local": dt.datetime(1999, 12, 31, 23, 59, 59),
        "day": dt.date(2020, 2, 29),
        "hour": dt.time(1, 2, 3, 4),
        "key": uuid.UUID(int=7),
        "raw": b"\x00\xff\\",
        "color": Color.blue,
        "body": {"a": [1, None, "ø\n"], "b": {"c": True}},
    },
    {"id": 2, "name": "", "raw": b"", "body": []},
    {"id": 3},
]


def complete(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(column.name) for column in TABLE.columns)


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"], indirect=True)
@pytest.mark.parametrize("suffix", FORMATS)
def test_there_and_back(db: Database, tmp_path: Path, suffix: str) -> None:
    TABLE.drop(db.engine, checkfirst=True)
    TABLE.create(db.engine)
    bulk: BulkWriter[Any] = BulkWriter(db, TABLE)
    rows = [{**row, "free": None} if db.engine.dialect.name == "sqlite" else row for row in ROWS]
    bulk.insert([dict(zip(TABLE.columns.keys(), complete(row), strict=True)) for row in rows])
    with db.session() as session:
        before = [tuple(row) for row in session.execute(select(TABLE).order_by(TABLE.c.id))]
    path = tmp_path / f"kinds.{suffix}"
    assert bulk.dump(select(TABLE).order_by(TABLE.c.id), path) == 3
    with db.transaction() as session:
        session.execute(TABLE.delete())
    assert bulk.load(path).inserted == 3
    with db.session() as session:
        assert [tuple(row) for row in session.execute(select(TABLE).order_by(TABLE.c.id))] == before


def test_what_stands_in_the_file(writer: Callable[[Any], Any], db: Database, tmp_path: Path) -> None:
    bulk = writer(City)
    bulk.insert([{"id": 1, "name": "Oslo"}, {"id": 2, "name": 'a "b"'}, {"id": 3, "name": ""}])
    statement = select(City.id, City.name.label("city")).where(City.id > 1).order_by(City.id)
    assert bulk.dump(statement, tmp_path / "cities.csv") == 2
    assert (tmp_path / "cities.csv").read_text() == 'id,city\n2,"a ""b"""\n3,""\n'
    assert bulk.dump(statement, tmp_path / "cities.jsonl.gz") == 2
    lines = gzip.decompress((tmp_path / "cities.jsonl.gz").read_bytes()).decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"id": 2, "city": 'a "b"'}, {"id": 3, "city": ""}]
    assert bulk.dump(statement.where(City.id > 9), tmp_path / "none.csv") == 0
    assert (tmp_path / "none.csv").read_text() == "id,city\n"


def test_into_a_file_object_and_with_progress(pg: Database) -> None:
    bulk = BulkWriter(pg, City)
    bulk.insert([{"name": f"{'x' * 50}{n}"} for n in range(20_000)])
    out, told = io.BytesIO(), list[FileProgress]()
    assert bulk.dump(select(City), out, format="csv", progress=told.append) == 20_000
    assert out.getvalue().count(b"\n") == 20_001
    assert [each.rows for each in told] == sorted(each.rows for each in told)
    assert len(told) > 2
    with pg.session() as session:
        session.add(City(name="Oslo"))
        own = BulkWriter(session, City)
        assert own.dump(select(City).where(City.name == "Oslo"), io.BytesIO(), format="jsonl") == 1
        session.rollback()


def test_what_python_converts_goes_through_python(pg: Database, tmp_path: Path) -> None:
    loud = Table(
        "loud", MetaData(), Column("id", Integer, primary_key=True), Column("name", Shout), Column("tags", ARRAY(Integer))
    )
    loud.create(pg.engine)
    bulk: BulkWriter[Any] = BulkWriter(pg, loud)
    for suffix in FORMATS:
        path = tmp_path / f"loud.{suffix}"
        with pg.transaction() as session:
            session.execute(loud.delete())
            session.execute(insert(loud), [{"id": 1, "name": "oslo", "tags": [1, 2]}, {"id": 2, "name": None, "tags": None}])
        bulk.dump(select(loud).order_by(loud.c.id), path)
        with pg.transaction() as session:
            assert session.scalar(text("SELECT name FROM loud WHERE id = 1")) == "OSLO"
            session.execute(loud.delete())
        bulk.load(path)
        with pg.session() as session:
            assert session.execute(select(loud).order_by(loud.c.id)).all() == [(1, "oslo", [1, 2]), (2, None, None)]
            assert session.scalar(text("SELECT name FROM loud WHERE id = 1")) == "OSLO"


def test_json_with_line_ends(pg: Database, tmp_path: Path) -> None:
    plain = Table("plain", MetaData(), Column("id", Integer, primary_key=True), Column("body", JSON))
    plain.create(pg.engine)
    with pg.transaction() as session:
        session.execute(text("""INSERT INTO plain VALUES (1, '{"a":\n1}'), (2, '[]')"""))
    path = tmp_path / "plain.jsonl"
    assert BulkWriter(pg, plain).dump(select(plain), path) == 2
    assert [json.loads(line)["body"] for line in path.read_text().splitlines()] == [{"a": 1}, []]


def test_a_file_is_whole_or_as_it_was(pg: Database, tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text("precious")
    numbers = func.generate_series(1, 300_000).table_valued("n").render_derived()
    failing = select((1 / (numbers.c.n - 299_999)).label("q")).select_from(numbers)
    bulk = BulkWriter(pg, City)
    with pytest.raises(Exception, match="division by zero"):
        bulk.dump(failing, path)
    assert path.read_text() == "precious"
    assert [each.name for each in tmp_path.iterdir()] == ["numbers.csv"]

    def stop(progress: FileProgress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bulk.dump(select(numbers.c.n), path, progress=stop)
    assert path.read_text() == "precious"
    assert bulk.dump(select(numbers.c.n), path) == 300_000


def test_bad_input_is_told(pg: Database, tmp_path: Path) -> None:
    bulk = BulkWriter(pg, City)
    with pytest.raises(UsageError, match="tells no format"):
        bulk.dump(select(City), tmp_path / "cities")
    with pytest.raises(UsageError, match=r"no select\(\)"):
        bulk.dump("SELECT 1", tmp_path / "cities.csv")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="cannot be written"):
        bulk.dump(select(City), tmp_path / "nowhere" / "cities.csv")
    with pytest.raises(UsageError, match="two columns are called id"):
        bulk.dump(select(City.id, User.id).select_from(City).join(User, User.city_id == City.id), tmp_path / "cities.csv")
    with pytest.raises(UsageError, match="the parameter 'name' has no value"):
        bulk.dump(select(City).where(City.name == bindparam("name")), tmp_path / "cities.csv")
