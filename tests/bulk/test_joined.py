"""Joined inheritance, upserted: the tables of a class as if they were one, on every database and by both doors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import ForeignKey, String, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dal import BatchWriter, BulkWriter, Database
from dal.errors import RowConflict, UnsupportedError

Writer = Callable[[Any], Any]


class Base(DeclarativeBase):
    pass


class Animal(Base):
    __tablename__ = "animals"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    tag: Mapped[str] = mapped_column(String(20), unique=True)
    name: Mapped[str] = mapped_column(String(20), default="nameless")
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "animal", "version_id_col": version}  # noqa: RUF012


class Dog(Animal):
    __tablename__ = "dogs"
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("animals.id"), primary_key=True)
    trick: Mapped[str] = mapped_column(String(20))
    age: Mapped[int | None]


class Puppy(Dog):
    __tablename__ = "puppies"
    __mapper_args__ = {"polymorphic_identity": "puppy"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("dogs.id"), primary_key=True)
    toy: Mapped[str | None] = mapped_column(String(20))


class Cat(Animal):
    __tablename__ = "cats"
    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("animals.id"), primary_key=True)


@pytest.fixture
def animals(db: Database) -> Iterator[Database]:
    """A database with the tables in it."""
    Base.metadata.create_all(db.engine)
    yield db
    Base.metadata.drop_all(db.engine)


def dogs(db: Database) -> list[tuple[Any, ...]]:
    """All dogs, puppies too, by tag."""
    with db.session() as session:
        return [
            (each.kind, each.tag, each.name, each.version, each.trick, each.age)
            for each in session.scalars(select(Dog).order_by(Dog.tag))
        ]


def row(tag: str, **values: Any) -> dict[str, Any]:
    return {"tag": tag, "name": tag.upper(), "trick": "sit", **values}


def counts(result: Any) -> tuple[int, int, int]:
    return result.inserted, result.updated, result.unchanged


def test_new_rows_changed_ones_and_those_that_are_as_they_should_be(animals: Database, writer: Writer) -> None:
    bulk = writer(Dog)
    assert counts(bulk.upsert([row("a"), row("b"), row("c")], key=[Animal.tag])) == (3, 0, 0)
    result = bulk.upsert([row("a"), row("b", trick="roll"), row("c", name="Z"), row("d")], key=[Animal.tag], returning=Dog)
    assert counts(result) == (1, 2, 1)
    assert [(each.tag, each.trick) for each in result.rows] == [("a", "sit"), ("b", "roll"), ("c", "sit"), ("d", "sit")]
    # A version counts whichever of the tables a row changed in, and not where nothing did.
    assert dogs(animals) == [
        ("dog", "a", "A", 1, "sit", None),
        ("dog", "b", "B", 2, "roll", None),
        ("dog", "c", "Z", 2, "sit", None),
        ("dog", "d", "D", 1, "sit", None),
    ]


def test_by_primary_key_three_tables_deep(animals: Database, writer: Writer) -> None:
    bulk = writer(Puppy)
    rows = [{"id": at, **row(f"p{at}", toy="ball")} for at in range(1, 6)]
    assert counts(bulk.upsert(rows, key=[Puppy.id])) == (5, 0, 0)
    rows[0]["toy"], rows[1]["trick"], rows[2]["name"] = "bone", "roll", "Z"
    assert counts(bulk.upsert(rows, key=[Puppy.id])) == (0, 3, 2)
    # A puppy is a dog, and stays a puppy when it is written as one.
    assert counts(writer(Dog).upsert([row("p1", name="P"), row("p2", trick="roll", name="P2")], key=[Dog.tag])) == (0, 1, 1)
    assert [each[:3] for each in dogs(animals)][:2] == [("puppy", "p1", "P"), ("puppy", "p2", "P2")]
    assert column(animals, Puppy.toy) == ["bone", "ball", "ball", "ball", "ball"]


def column(db: Database, attribute: Any) -> list[Any]:
    with db.session() as session:
        return list(session.scalars(select(attribute).order_by(Puppy.id)))


def test_bad_rows_are_told_apart_and_a_row_keeps_its_class(animals: Database, writer: Writer) -> None:
    writer(Cat).insert([{"tag": "cat", "name": "Tom"}])
    bulk = writer(Dog)
    bulk.insert([row("there", age=3)])
    rows = [
        row("cat"),
        row("good"),
        row("no trick", trick=None),
        row("there", trick="roll"),
        row("good", trick="roll"),
        {"tag": "nothing"},
    ]
    result = bulk.upsert(rows, key=[Dog.tag], on_error="reject")
    assert counts(result) == (1, 1, 0)
    told = sorted((each.position, each.column) for each in result.rejected)
    assert [position for position, _ in told] == [0, 2, 4, 5]
    assert dict(told)[0] == "tag"
    assert "another class" in next(each.reason for each in result.rejected if each.position == 0)
    assert [each[1:] for each in dogs(animals)] == [("good", "GOOD", 1, "sit", None), ("there", "THERE", 2, "roll", 3)]
    with pytest.raises(RowConflict, match="another class"):
        bulk.upsert([row("new"), row("cat")], key=[Dog.tag])
    assert len(dogs(animals)) == 2


@pytest.mark.parametrize("kept", ["first", "last"])
def test_which_of_two_rows_counts(animals: Database, writer: Writer, kept: Any) -> None:
    bulk = writer(Dog)
    for tricks in (("sit", "roll"), ("beg", "swim")):
        bulk.upsert([row("a", trick=trick) for trick in tricks], key=[Dog.tag], duplicates=kept)
        assert dogs(animals)[0][4] == tricks[0 if kept == "first" else 1]


def test_an_update_counts_a_key_once(animals: Database, writer: Writer) -> None:
    bulk = writer(Dog)
    bulk.insert([{"id": 1, **row("a")}])
    rows = [{"id": 1, "name": name, "trick": "roll"} for name in ("first", "last")]
    result = bulk.update(rows, duplicates="last")
    assert result.updated == 1
    assert dogs(animals)[0][2:5] == ("last", 2, "roll")


def test_an_update_leaves_rows_of_another_class_alone(animals: Database, writer: Writer) -> None:
    writer(Cat).insert([{"id": 1, "tag": "cat", "name": "Tom"}])
    writer(Dog).insert([{"id": 2, **row("a")}])
    result = writer(Dog).update([{"id": at, "name": "changed", "trick": "roll"} for at in (1, 2, 3)])
    assert (result.updated, result.unchanged, result.missing) == (1, 0, 2)
    with animals.session() as session:
        assert session.scalars(select(Animal.name).order_by(Animal.id)).all() == ["Tom", "changed"]


def test_a_delete_leaves_rows_of_another_class_alone(animals: Database, writer: Writer) -> None:
    writer(Cat).insert([{"id": 1, "tag": "cat", "name": "Tom"}])
    writer(Dog).insert([{"id": 2, **row("a")}, {"id": 4, **row("b")}])
    result = writer(Dog).delete([1, 2, 3, 1])
    assert (result.deleted, result.missing) == (1, 2)
    with animals.session() as session:
        assert session.scalars(select(Animal.name).order_by(Animal.id)).all() == ["Tom", "B"]


def test_a_key_that_only_one_of_the_tables_has(animals: Database, writer: Writer) -> None:
    with pytest.raises(UnsupportedError, match="not all of them have tag"):
        writer(Dog).delete([{"tag": "cat"}], key=[Animal.tag])
    with pytest.raises(UnsupportedError, match="not all of them have tag"):
        writer(Dog).update([{"tag": "cat", "name": "Tom"}], key=[Animal.tag])


def test_columns_that_are_left_alone(animals: Database, writer: Writer) -> None:
    bulk = writer(Dog)
    bulk.insert([row("a", age=3)])
    assert counts(bulk.upsert([row("a", trick="roll", name="new")], key=[Dog.tag], set_=[Dog.trick])) == (0, 1, 0)
    assert counts(bulk.upsert([row("a", trick="x"), row("b")], key=[Dog.tag], set_=[Dog.age])) == (1, 0, 1)
    assert dogs(animals) == [("dog", "a", "A", 2, "roll", 3), ("dog", "b", "B", 1, "sit", None)]


def test_a_key_in_another_table_than_the_roots(animals: Database, writer: Writer) -> None:
    with pytest.raises(UnsupportedError, match="animals, has no trick"):
        writer(Dog).upsert([row("a")], key=[Dog.trick])


def test_objects_of_a_session_are_read_again(animals: Database) -> None:
    with animals.transaction() as session:
        one = Dog(tag="a", name="A", trick="sit")
        session.add(one)
        session.flush()
        assert BulkWriter(session, Dog).upsert([row("a", trick="roll"), row("b")], key=["tag"]).updated == 1
        assert (one.trick, one.version) == ("roll", 2)


def test_a_batch_writer(animals: Database) -> None:
    with BatchWriter(animals, Dog) as items:
        first, second = items.upsert(Dog(**row("a")), key=["tag"]), items.upsert(Dog(**row("b")), key=["tag"])
        assert (first.result(30).tag, second.result(30).tag) == ("a", "b")


def test_two_writers_of_the_same_keys(pg: Database) -> None:
    Base.metadata.create_all(pg.engine)
    rows = [row(f"{at:03}") for at in range(300)]
    total: list[tuple[int, int, int]] = []

    def write(some: list[dict[str, Any]]) -> None:
        total.extend([counts(BulkWriter(pg, Dog).upsert(some, key=[Dog.tag])) for _ in range(3)])

    threads = [threading.Thread(target=write, args=(some,)) for some in (rows, rows[::-1], rows[::2])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(total) == 9
    assert sum(inserted for inserted, _, _ in total) == 300
    assert len(dogs(pg)) == 300
    with Session(pg.engine) as session:
        assert session.scalar(text("SELECT count(*) FROM animals")) == 300
    Base.metadata.drop_all(pg.engine)
