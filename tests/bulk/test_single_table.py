"""Single-table inheritance: a writer of one class leaves the rows of the others in its table alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import ForeignKey, String, case, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import BatchWriter, BulkWriter, Database
from dal.errors import NotFound, RowConflict

Writer = Callable[[Any], Any]


class Base(DeclarativeBase):
    pass


class Employee(Base):
    __tablename__ = "employees"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column("k nd", String(20))
    tag: Mapped[str] = mapped_column(String(20), unique=True)
    name: Mapped[str] = mapped_column(String(20), default="nameless")


class Manager(Employee):
    __mapper_args__ = {"polymorphic_identity": "man'ager"}  # noqa: RUF012

    level: Mapped[int | None]


class Chief(Manager):
    __mapper_args__ = {"polymorphic_identity": "ch%ief"}  # noqa: RUF012


class Pilot(Employee):
    __tablename__ = "pilots"
    __mapper_args__ = {"polymorphic_identity": "pilot"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("employees.id"), primary_key=True)
    hours: Mapped[int]


class Captain(Pilot):
    __mapper_args__ = {"polymorphic_identity": "captain"}  # noqa: RUF012


class Parcel(Base):
    __tablename__ = "parcels"

    id: Mapped[int] = mapped_column(primary_key=True)
    grams: Mapped[int] = mapped_column()
    __mapper_args__ = {"polymorphic_on": case((grams < 500, "light"), else_="heavy"), "polymorphic_identity": "light"}  # noqa: RUF012


class Heavy(Parcel):
    __mapper_args__ = {"polymorphic_identity": "heavy"}  # noqa: RUF012


@pytest.fixture
def staff(db: Database) -> Database:
    """An employee, a manager, a chief, a pilot and a captain, with the ids 1 to 5."""
    Base.metadata.create_all(db.engine)
    with db.transaction() as session:
        people = [Employee(tag="e"), Manager(tag="m"), Chief(tag="c"), Pilot(tag="p", hours=1), Captain(tag="k", hours=1)]
        for number, person in enumerate(people, 1):
            person.id, person.name = number, "old"
        session.add_all(people)
    return db


def names(db: Database) -> dict[str, str]:
    with db.session() as session:
        return {person.tag: person.name for person in session.scalars(select(Employee).order_by(Employee.id))}


OLD = dict.fromkeys(["e", "m", "c", "p", "k"], "old")
OTHERS = [f"x{each}" for each in range(5)]


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("given", [list, iter], ids=["list", "generator"])
def test_only_rows_of_the_class_are_updated_and_deleted(staff: Database, writer: Writer, given: Any) -> None:
    rows = [{"id": each, "name": "new"} for each in range(1, 6)]
    result = writer(Manager).update(given(rows))
    assert (result.updated, result.missing) == (2, 3)
    assert names(staff) == OLD | {"m": "new", "c": "new"}
    result = writer(Manager).update(given(rows))
    assert (result.updated, result.unchanged, result.missing) == (0, 2, 3)
    result = writer(Chief).update(given([{"tag": tag, "name": "newer"} for tag in OLD]), key=[Employee.tag])
    assert (result.updated, result.missing) == (1, 4)
    result = writer(Captain).update(given(rows))
    assert (result.updated, result.missing) == (1, 4)
    result = writer(Captain).delete(given([4, 5, 6]))
    assert (result.deleted, result.missing) == (1, 2)
    result = writer(Manager).delete(given([1, 2, 3, 4, 9]))
    assert (result.deleted, result.missing) == (2, 3)
    assert names(staff) == {"e": "old", "p": "old"}
    assert writer(Employee).update(given([{"id": 1, "name": "newest"}])).updated == 1


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("given", [list, iter], ids=["list", "generator"])
def test_a_key_of_another_class_is_not_written_over(staff: Database, writer: Writer, given: Any) -> None:
    rows = [{"tag": tag, "name": "new"} for tag in [*OLD, "fresh"]]
    with pytest.raises(RowConflict, match="another class"):
        writer(Manager).upsert(given(rows), key=[Employee.tag])
    assert names(staff) == OLD
    result = writer(Manager).upsert(given(rows), key=[Employee.tag], on_error="reject")
    assert (result.inserted, result.updated) == (1, 2)
    assert [each.position for each in result.rejected] == [0, 3, 4]
    assert names(staff) == OLD | {"m": "new", "c": "new", "fresh": "new"}
    with staff.session() as session:
        classes = {person.tag: type(person) for person in session.scalars(select(Employee))}
    assert (classes["c"], classes["fresh"]) == (Chief, Manager)
    result = writer(Employee).upsert(given(rows), key=[Employee.tag])
    assert (result.updated, result.unchanged) == (3, 3)


def test_rows_that_come_back_are_those_of_the_class(staff: Database, writer: Writer) -> None:
    rows = [{"id": each, "name": "new"} for each in range(1, 4)]
    found = writer(Manager).update(rows, returning=[Employee.id, Employee.name]).rows
    assert [tuple(row) for row in found] == [(2, "new"), (3, "new")]


def test_a_batch_leaves_other_classes_alone(staff: Database) -> None:
    with BatchWriter(staff, Manager, interval="20ms") as batches:
        good = batches.upsert(Manager(tag="m", name="new"), key=[Employee.tag])
        bad = batches.upsert(Manager(tag="e", name="new"), key=[Employee.tag])
        missing = [batches.update(Manager(id=1, name="new")), batches.delete(Manager(id=4))]
        gone = batches.delete(Manager(id=3))
    assert good.result().name == "new"
    with pytest.raises(RowConflict, match="another class"):
        bad.result()
    for each in missing:
        with pytest.raises(NotFound):
            each.result()
    assert gone.result().tag == "c"
    assert names(staff) == {"e": "old", "m": "new", "p": "old", "k": "old"}


def test_a_discriminator_that_is_computed(staff: Database, writer: Writer) -> None:
    with staff.transaction() as session:
        session.execute(insert(Parcel.__table__), [{"id": each, "grams": each * 300} for each in range(1, 5)])  # type: ignore[arg-type]
    rows = [{"id": each, "grams": 900} for each in range(1, 5)]
    result = writer(Heavy).update(rows)
    assert (result.updated, result.unchanged, result.missing) == (2, 1, 1)
    with pytest.raises(RowConflict, match="another class"):
        writer(Heavy).upsert(rows, key=[Parcel.id])
    result = writer(Heavy).delete(range(1, 5))
    assert (result.deleted, result.missing) == (3, 1)


def test_in_a_session(staff: Database) -> None:
    with staff.transaction() as session:
        assert BulkWriter(session, Manager).delete([1, 2]).deleted == 1
