"""Rows of every kind that Python has, and what each means where a value is not given."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from collections import namedtuple
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dal import BulkWriter, Database, RowError, UsageError
from tests.bulk.models import City, Engineer, Mood, Person, Seat, User

Writer = Callable[[Any], Any]


@dataclass
class UserRow:
    email: str
    age: int | None = None


class UserStruct(msgspec.Struct):
    email: str
    age: int | None = None


class UserTuple(NamedTuple):
    email: str
    age: int | None = None


def pydantic_user(email: str, age: int | None = None) -> Any:
    pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")
    model = pydantic.create_model("UserModel", email=(str, ...), age=(int | None, None))
    return model(email=email, age=age)


def attrs_user(email: str, age: int | None = None) -> Any:
    attrs = pytest.importorskip("attrs", reason="attrs is not installed")
    return attrs.make_class("UserAttrs", ["email", "age"])(email, age)


def listed(db: Database) -> list[tuple[str, int | None]]:
    with db.session() as session:
        return [(email, age) for email, age in session.execute(select(User.email, User.age).order_by(User.email))]


@pytest.mark.parametrize(
    "make",
    [UserRow, UserStruct, UserTuple, pydantic_user, attrs_user, User, lambda email, age: {"email": email, "age": age}],
    ids=["dataclass", "msgspec", "namedtuple", "pydantic", "attrs", "entity", "dict"],
)
def test_objects(pg: Database, make: Callable[..., Any]) -> None:
    rows = [make(email="a", age=1), make(email="b", age=None)]
    assert BulkWriter(pg, User).insert(rows).inserted == 2
    assert listed(pg) == [("a", 1), ("b", None)]
    rows = [make(email="a", age=5), make(email="b", age=None)]
    result = BulkWriter(pg, User).upsert(rows, key=[User.email])
    assert (result.updated, result.unchanged) == (1, 1)


def test_all_kinds_in_one_call(db: Database, writer: Writer) -> None:
    rows = [UserRow("a"), {"email": "b", "age": 2}, UserStruct("c", 3), User(email="d"), UserTuple("e", 5)]
    result = writer(User).insert(rows, returning=[User.email, User.age])
    assert [tuple(row) for row in result.rows] == [("a", None), ("b", 2), ("c", 3), ("d", None), ("e", 5)]


def test_rows_of_a_query(db: Database, writer: Writer) -> None:
    writer(User).insert([{"email": "a", "age": 1}])
    with db.session() as session:
        rows = session.execute(select((User.email + "!").label("email"), User.age)).all()
    writer(User).insert(rows)
    assert listed(db) == [("a", 1), ("a!", 1)]


def test_an_entity_means_by_none_what_a_flush_would(db: Database, writer: Writer) -> None:
    rows = [User(email="a", plan=None, balance=None), User(email="b", plan="paid", balance=Decimal(3), id=None)]
    rows[0].mood = None  # type: ignore[assignment]
    writer(User).insert(rows)
    with db.session() as session:
        found = {user.email: (user.plan, user.balance, user.mood) for user in session.scalars(select(User))}
    assert found == {"a": ("free", Decimal(7), Mood.glad), "b": ("paid", Decimal(3), Mood.glad)}


def test_entities_of_joined_inheritance(db: Database, writer: Writer) -> None:
    result = writer(Engineer).insert(
        [Engineer(name="a", language="c"), Engineer(name="b", language="d")], returning=[Person.id]
    )
    assert [type(row) for row in result.rows] == [tuple, tuple]
    with db.session() as session:
        assert [each.language for each in session.scalars(select(Engineer).order_by(Person.id))] == ["c", "d"]


def test_a_table_instead_of_a_class(db: Database, writer: Writer) -> None:
    table: Any = Seat.__table__
    bulk = writer(table)
    bulk.insert([(1, "a", True)], columns=[table.c.row, table.c.place, table.c.taken])
    assert bulk.update([{"row": 1, "place": "a", "taken": False}]).updated == 1
    assert bulk.upsert([{"row": 1, "place": "b", "taken": True}], key=["row", "place"]).inserted == 1
    assert bulk.delete([(1, "a")]).deleted == 1


def test_a_generator_is_read_in_constant_memory(pg: Database) -> None:
    def rows(number: int) -> Iterator[tuple[str, int]]:
        for each in range(number):
            yield f"{each}@b", 7

    columns = [User.email, User.age]
    BulkWriter(pg, User).insert(rows(100), columns=columns)
    BulkWriter(pg, User).delete((f"{each}@b" for each in range(100)), key=[User.email])
    tracemalloc.start()
    try:
        assert BulkWriter(pg, User).insert(rows(60_000), columns=columns).inserted == 60_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000


async def test_an_async_generator(pg: Database) -> None:
    from dal import AsyncBulkWriter, AsyncDatabase

    async def rows() -> AsyncIterator[dict[str, Any]]:
        for each in range(50):
            yield {"email": f"{each:02}"}

    async with AsyncDatabase(pg.url) as db:
        assert (await AsyncBulkWriter(db, User).insert(rows())).inserted == 50
        async with db.session() as session:
            await AsyncBulkWriter(session, User).insert([{"email": "x"}])
            await session.rollback()
        async with db.engine.begin() as connection:
            await AsyncBulkWriter(connection, User).insert([{"email": "y"}])
    assert [email for email, _ in listed(pg)] == [*(f"{each:02}" for each in range(50)), "y"]


ODD = namedtuple("ODD", ["email", "colour"])


ROWS_THAT_CANNOT_BE_MEANT: list[tuple[Any, str]] = [
    ([{"email": "a"}, {"email": "b", "colour": 1}], "row 1 has a column 'colour', which User has not"),
    ([{"email": "a", "double": 4}], "row 0 has a value for User.double, which the database computes"),
    ([UserRow("a"), ODD("b", 1)], "row 1 has a column 'colour', which User has not"),
    ([("a", 1)], "row 0 is a tuple, and nothing says what its places mean"),
    ([{"email": "a"}, City(name="x")], "row 1 is a City, not a User"),
    ([{"email": "a"}, 7], "row 1 is a int, which is no row of User"),
    ({"email": "a"}, "rows is a dict, not many rows"),
    ("abc", "rows is a str, not many rows"),
    (7, "rows is a int, not many rows"),
]


def test_rows_that_cannot_be_meant(db: Database, writer: Writer) -> None:
    for rows, told in ROWS_THAT_CANNOT_BE_MEANT:
        with pytest.raises(UsageError) as raised:
            writer(User).insert(rows)
        assert told in str(raised.value)
        assert raised.value.hint
    assert listed(db) == []


CALLS_THAT_CANNOT_BE_MEANT: list[tuple[Callable[[Any], Any], str]] = [
    (lambda bulk: bulk.insert([("a",)], columns=[User.email, User.age]), "row 0 has 1 values for 2 columns"),
    (lambda bulk: bulk.insert([("a",)], columns=["mail"]), "columns names mail, which is not a column of User"),
    (lambda bulk: bulk.insert([("a",)], columns=User.email), "columns is User.email, not a list"),
    (lambda bulk: bulk.insert([("a", "a")], columns=["email", "email"]), "columns names email twice"),
    (lambda bulk: bulk.upsert([], key=[City.name]), "key names City.name, which is not a column of User"),
    (lambda bulk: bulk.upsert([], key=[]), "key is empty"),
    (lambda bulk: bulk.upsert([], key=[User.email], duplicates="some"), "duplicates='some' is not known"),
    (lambda bulk: bulk.insert([], on_error="ignore"), "on_error='ignore' is neither"),
    (lambda bulk: bulk.insert([], returning=[City.id]), "returning names City.id"),
    (lambda bulk: bulk.insert([], rejects=7), "rejects=7 is no place"),
]


def test_calls_that_cannot_be_meant(db: Database, writer: Writer) -> None:
    for call, told in CALLS_THAT_CANNOT_BE_MEANT:
        with pytest.raises(UsageError) as raised:
            call(writer(User))
        assert told in str(raised.value)


def test_a_key_that_is_missing_is_named(db: Database, writer: Writer) -> None:
    for verb in ("update", "upsert"):
        with pytest.raises(RowError, match=r"row 1 was refused.*User.email.*it has no email") as raised:
            getattr(writer(User), verb)([{"email": "a", "age": 1}, {"email": None, "age": 2}], key=[User.email])
        assert raised.value.position == 1
    with pytest.raises(RowError, match="row 1 was refused.*it has no id"):
        writer(User).update([{"id": 1, "age": 1}, {"age": 2}])
    with pytest.raises(RowError, match="row 0 was refused.*it has no email"):
        writer(User).insert([{"age": 1}])


def test_a_key_that_is_not_unique(pg: Database) -> None:
    with pytest.raises(UsageError, match="User has no unique key of age"):
        BulkWriter(pg, User).upsert([{"email": "a", "age": 1}], key=[User.age])


def test_an_object_of_a_session_is_not_inserted_again(db: Database, writer: Writer) -> None:
    with db.session() as session:
        session.add(known := User(email="a"))
        session.flush()
        with pytest.raises(UsageError, match="row 0 is an object that a session has loaded"):
            writer(User).insert([known])
        session.rollback()


def test_places_that_cannot_be_written_to(db: Database) -> None:
    with pytest.raises(UsageError, match="is no database, session or connection"):
        BulkWriter("postgresql://x", User)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="UserRow is not mapped"):
        BulkWriter(db, UserRow)
    db.close()
    with pytest.raises(UsageError, match="is closed"):
        BulkWriter(db, User).insert([{"email": "a"}])
    with pytest.raises(UsageError, match="is closed"):
        BulkWriter(db, User).insert(iter([{"email": "a"}]))


def test_in_the_callers_transaction(db: Database) -> None:
    with db.session() as session:
        BulkWriter(session, User).insert([{"email": "a"}])
        with pytest.raises(RowError):
            BulkWriter(session, User).insert([{"email": "b"}, {"email": "a"}])
        BulkWriter(session, User).insert([{"email": "c"}])
        session.commit()
    with db.session() as session:
        BulkWriter(session, User).insert([{"email": "d"}])
    with db.engine.begin() as connection:
        BulkWriter(connection, User).insert([{"email": "e"}])
    assert [email for email, _ in listed(db)] == ["a", "c", "e"]


def test_a_session_sees_what_was_written_behind_its_back(db: Database) -> None:
    with db.session() as session:
        session.add_all([User(email="a", age=1), User(email="b", age=1), User(email="waits", age=1)])
        session.commit()
        known = {user.email: user for user in session.scalars(select(User))}
        known["waits"].age = 9
        bulk = BulkWriter(session, User)
        bulk.update([{"email": "a", "age": 2}], key=[User.email])
        assert (known["a"].age, known["waits"].age) == (2, 9)
        bulk.upsert([{"email": "b", "age": 3}, {"email": "z"}], key=[User.email])
        assert known["b"].age == 3
        found = bulk.upsert([{"email": "b", "age": 4}], key=[User.email], returning=User)
        assert found.rows[0] is known["b"]
        assert known["b"].age == 4
        bulk.delete([known["a"].id])
        assert session.scalar(select(func.count()).select_from(User)) == 3


def test_arrow_tables_batches_and_streams(db: Database, writer: Writer) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = pa.table({"email": ["a", "b\\\n\tc"], "age": pa.array([1, None], pa.int16()), "settings": ['{"x": [1]}', None]})
    assert writer(User).insert(table).inserted == 2
    assert listed(db) == [("a", 1), ("b\\\n\tc", None)]
    more = pa.table({"email": ["a", "d"], "age": [5, 6]})
    assert writer(User).upsert(more.to_batches()[0], key=[User.email]).updated == 1
    assert writer(User).update(more.to_reader(), key=[User.email]).unchanged == 2
    with db.session() as session:
        assert session.scalar(select(User.settings).where(User.email == "a")) == {"x": [1]}
    assert writer(User).delete(more.select(["email"]), key=[User.email]).deleted == 2


def test_data_frames(pg: Database) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    frame = polars.DataFrame({"email": ["a", "b"], "age": [1, None], "touched": [dt.datetime(2020, 1, 1), None]})
    assert BulkWriter(pg, User).insert(frame).inserted == 2
    assert BulkWriter(pg, User).insert(duckdb.sql("SELECT 'c' AS email, 3 AS age")).inserted == 1
    assert listed(pg) == [("a", 1), ("b", None), ("c", 3)]


def test_bad_rows_of_a_table_are_found(pg: Database) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = pa.table(
        {"email": [f"{each}" for each in range(3_000)], "age": [300 if each in {7, 2_900} else 1 for each in range(3_000)]}
    )
    result = BulkWriter(pg, User).insert(table, on_error="reject")
    assert [(each.position, each.row) for each in result.rejected] == [
        (7, {"email": "7", "age": 300}),
        (2_900, {"email": "2900", "age": 300}),
    ]
    with pytest.raises(RowError, match="row 800 was refused"):
        BulkWriter(pg, User).insert(table.slice(100).append_column("plan", pa.array(["x"] * 2_900)).slice(2_000))


def test_a_missing_arrow_is_named(pg: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def __arrow_c_stream__(self, requested: object = None) -> object:
            raise AssertionError

    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"dal\[arrow\]"):
        BulkWriter(pg, User).insert(Stream())  # type: ignore[arg-type]


def test_the_session_stays_usable_with_objects_of_it(db: Database) -> None:
    with Session(db.engine) as session:
        result = BulkWriter(session, User).insert([{"email": "a"}], returning=User)
        assert result.rows[0] in session
        session.commit()
