"""One suite, every database, both doors: what a bulk call writes, counts and gives back."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from dal import Database
from tests.bulk.models import Engineer, Mood, Person, Seat, User, Versioned

Writer = Callable[[Any], Any]


def users(number: int, **more: Any) -> list[dict[str, Any]]:
    return [{"email": f"{each}@b", "age": each % 90, **more} for each in range(number)]


def column(db: Database, attribute: Any, *where: Any) -> list[Any]:
    with db.session() as session:
        return list(session.scalars(select(attribute).where(*where).order_by(attribute)))


def test_insert_with_defaults_of_every_kind(db: Database, writer: Writer) -> None:
    result = writer(User).insert(users(25))
    assert (result.inserted, result.written, list(result.rejected)) == (25, 25, [])
    assert result.seconds > 0
    with db.session() as session:
        found = session.scalars(select(User).where(User.email == "7@b")).one()
        assert (found.age, found.mood, found.balance, found.plan, found.double) == (7, Mood.glad, Decimal(7), "free", 14)


def test_rows_of_different_shapes(db: Database, writer: Writer) -> None:
    rows = [{"email": "a", "plan": "paid"}, {"email": "b"}, {"plan": "gold", "email": "c", "age": 3}, {"email": "d"}]
    result = writer(User).insert(rows, returning=[User.email, User.plan, User.age])
    assert [tuple(row) for row in result.rows] == [
        ("a", "paid", None),
        ("b", "free", None),
        ("c", "gold", 3),
        ("d", "free", None),
    ]


def test_tuples_with_columns(db: Database, writer: Writer) -> None:
    writer(Seat).insert([(1, "a"), (1, "b")], columns=[Seat.row, Seat.place])
    assert column(db, Seat.place) == ["a", "b"]


def test_ids_come_back_in_the_order_given(db: Database, writer: Writer) -> None:
    result = writer(User).insert(users(50), returning=[User.id])
    with db.session() as session:
        ids = {user.email: user.id for user in session.scalars(select(User))}
    assert [row[0] for row in result.rows] == [ids[f"{each}@b"] for each in range(50)]


def test_whole_objects_come_back(db: Database, writer: Writer) -> None:
    result = writer(User).insert(users(3), returning=User)
    assert [(user.email, user.plan, user.id > 0) for user in result.rows] == [(f"{each}@b", "free", True) for each in range(3)]


@pytest.mark.usefixtures("route")
def test_upsert_counts_what_is_new_changed_and_unchanged(db: Database, writer: Writer) -> None:
    bulk = writer(User)
    bulk.insert(users(10, plan="paid"))
    rows = [*users(5, plan="paid"), *({"email": f"{each}@b", "age": 199, "plan": "gold"} for each in range(5, 15))]
    result = bulk.upsert(rows, key=[User.email])
    assert (result.inserted, result.updated, result.unchanged) == (5, 5, 5)
    assert column(db, User.email, User.plan == "gold") == sorted(f"{each}@b" for each in range(5, 15))


@pytest.mark.usefixtures("route")
def test_an_upsert_runs_onupdate_and_keeps_what_the_rows_do_not_carry(db: Database, writer: Writer) -> None:
    bulk = writer(User)
    bulk.insert([{"email": "a", "plan": "paid", "age": 1}])
    bulk.upsert([{"email": "a", "age": 2}], key=[User.email])
    with db.session() as session:
        found = session.scalars(select(User)).one()
        assert (found.age, found.plan) == (2, "paid")
        assert found.touched is not None


@pytest.mark.usefixtures("route")
def test_an_upsert_gives_rows_back_in_order(db: Database, writer: Writer) -> None:
    bulk = writer(User)
    bulk.insert([{"email": "b", "age": 1}, {"email": "c", "age": 1}])
    rows = [{"email": "c", "age": 1}, {"email": "a", "age": 2}, {"email": "b", "age": 3}]
    result = bulk.upsert(rows, key=[User.email], returning=[User.email, User.age])
    assert [tuple(row) for row in result.rows] == [("c", 1), ("a", 2), ("b", 3)]


@pytest.mark.usefixtures("route")
def test_an_upsert_of_some_columns_only(db: Database, writer: Writer) -> None:
    bulk = writer(User)
    bulk.insert([{"email": "a", "age": 1, "plan": "paid"}])
    bulk.upsert([{"email": "a", "age": 2, "plan": "gold"}], key=["email"], set_=["plan"])
    assert (column(db, User.age), column(db, User.plan)) == ([1], ["gold"])


@pytest.mark.usefixtures("route")
def test_an_upsert_whose_rows_are_all_key(db: Database, writer: Writer) -> None:
    bulk = writer(Seat)
    bulk.insert([{"row": 1, "place": "a", "taken": True}])
    result = bulk.upsert([{"row": 1, "place": "a"}, {"row": 2, "place": "a"}], key=[Seat.row, Seat.place])
    assert (result.inserted, result.updated, result.unchanged) == (1, 0, 1)
    assert column(db, Seat.taken) == [False, True]


def test_update_by_key(db: Database, writer: Writer) -> None:
    bulk = writer(User)
    bulk.insert(users(5))
    result = bulk.update([{"email": f"{each}@b", "age": 3} for each in range(3, 8)], key=[User.email])
    assert (result.updated, result.unchanged, result.missing) == (1, 1, 3)
    assert column(db, User.age) == [0, 1, 2, 3, 3]


def test_update_by_the_primary_key_of_several_columns(db: Database, writer: Writer) -> None:
    bulk = writer(Seat)
    bulk.insert([{"row": 1, "place": "a"}, {"row": 1, "place": "b"}])
    assert bulk.update([{"row": 1, "place": "b", "taken": True}]).updated == 1
    assert column(db, Seat.place, Seat.taken) == ["b"]


@pytest.mark.usefixtures("route")
def test_a_version_is_counted(db: Database, writer: Writer) -> None:
    bulk = writer(Versioned)
    bulk.insert([{"id": 1, "name": "a"}])
    bulk.update([{"id": 1, "name": "b"}])
    bulk.upsert([{"id": 1, "name": "c"}], key=[Versioned.id])
    assert column(db, Versioned.version) == [3]


def test_delete_by_key(db: Database, writer: Writer) -> None:
    bulk = writer(User)
    ids = [row[0] for row in bulk.insert(users(10), returning=[User.id]).rows]
    result = bulk.delete([ids[1], ids[1], ids[3], 10**6])
    assert (result.deleted, result.missing) == (2, 1)
    assert bulk.delete(["0@b", "2@b"], key=[User.email]).deleted == 2
    assert len(column(db, User.id)) == 6


def test_delete_by_a_key_of_several_columns(db: Database, writer: Writer) -> None:
    bulk = writer(Seat)
    bulk.insert([{"row": row, "place": place} for row in (1, 2) for place in "ab"])
    assert bulk.delete([(1, "a"), {"row": 2, "place": "b"}, (3, "c")]).deleted == 2
    assert column(db, Seat.row) == [1, 2]


def test_joined_inheritance(db: Database, writer: Writer) -> None:
    bulk = writer(Engineer)
    result = bulk.insert([{"name": "ada", "language": "ada"}, {"name": "bob", "language": "c"}], returning=Engineer)
    assert [(each.name, each.language, each.kind) for each in result.rows] == [
        ("ada", "ada", "engineer"),
        ("bob", "c", "engineer"),
    ]
    ada, bob = (each.id for each in result.rows)
    assert bulk.update([{"id": bob, "name": "rob", "language": "go"}]).updated == 1
    assert column(db, Person.name) == ["ada", "rob"]
    assert column(db, Engineer.language) == ["ada", "go"]
    assert bulk.delete([ada]).deleted == 1
    assert column(db, Person.name) == ["rob"]


def test_nothing_to_do(db: Database, writer: Writer) -> None:
    bulk = writer(User)
    for result in (
        bulk.insert([]),
        bulk.upsert(iter(()), key=[User.email]),
        bulk.update([]),
        bulk.delete([]),
        bulk.insert([], returning=User),
    ):
        assert (result.written, result.missing, list(result.rows)) == (0, 0, [])
