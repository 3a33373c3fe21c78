"""The tables of the town: 200 people, in an order with ties, each with a home; 100 places on a grid."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

__all__ = ["BY_AGE", "PEOPLE", "Base", "Home", "Person", "Place", "fill", "ids", "oracle"]

PEOPLE = 200


class Base(DeclarativeBase): ...


class Person(Base):
    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    age: Mapped[int]
    home_id: Mapped[int] = mapped_column(ForeignKey("homes.id"))
    home: Mapped[Home] = relationship(back_populates="people")
    friend_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    friend: Mapped[Person | None] = relationship(remote_side="Person.id")


class Home(Base):
    __tablename__ = "homes"

    id: Mapped[int] = mapped_column(primary_key=True)
    street: Mapped[str] = mapped_column(String(40))
    people: Mapped[list[Person]] = relationship(back_populates="home", order_by=Person.id)


class Place(Base):
    __tablename__ = "places"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    lat: Mapped[float]
    lon: Mapped[float]


def fill(session: Session) -> None:
    session.add_all(Home(id=number, street=f"street {number}") for number in range(1, 21))
    session.flush()
    session.add_all(
        Person(id=number, name=f"name {number:03}", age=number % 7, home_id=number % 20 + 1, friend_id=None)
        for number in range(1, PEOPLE + 1)
    )
    session.add_all(
        Place(id=x * 10 + y + 1, name=f"place {x} {y}", lat=x + 0.5, lon=y + 0.5) for x in range(10) for y in range(10)
    )


BY_AGE = select(Person).order_by(Person.age.desc())


def ids(page: Any) -> list[int]:
    return [person.id for person in page.items]


def oracle() -> list[int]:
    return sorted(range(1, PEOPLE + 1), key=lambda number: (number % 7, number), reverse=True)
