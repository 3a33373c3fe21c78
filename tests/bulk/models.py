"""What the bulk tests write: plain columns, a key of several columns, joined and single-table inheritance."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Computed, DateTime, Enum, ForeignKey, Numeric, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Mood(enum.Enum):
    glad = "g"
    sad = "s"


class City(Base):
    __tablename__ = "cities"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)


class User(Base):
    __tablename__ = "users"
    __table_args__ = (CheckConstraint("age < 200", name="users_age"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column("e mail", String(60), unique=True)
    age: Mapped[int | None]
    mood: Mapped[Mood] = mapped_column(Enum(Mood), default=Mood.glad)
    balance: Mapped[Decimal] = mapped_column(Numeric(12, 2), server_default="7")
    plan: Mapped[str] = mapped_column(String(20), default="free")
    settings: Mapped[Any] = mapped_column(JSON, nullable=True)
    city_id: Mapped[int | None] = mapped_column(ForeignKey("cities.id"))
    touched: Mapped[dt.datetime | None] = mapped_column(DateTime, onupdate=func.current_timestamp())
    double: Mapped[int | None] = mapped_column(Computed("age * 2"))


class Guest(Base):
    """As a User, with nothing that Python gives."""

    __tablename__ = "guests"
    __table_args__ = (CheckConstraint("age < 200", name="guests_age"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column("e mail", String(60), unique=True)
    age: Mapped[int | None]
    plan: Mapped[str] = mapped_column(String(20), server_default="free")
    city_id: Mapped[int | None] = mapped_column(ForeignKey("cities.id"))


class Seat(Base):
    __tablename__ = "Seat s"

    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    place: Mapped[str] = mapped_column(String(4), primary_key=True)
    taken: Mapped[bool] = mapped_column(default=False)


class Person(Base):
    __tablename__ = "people"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(60))


class Engineer(Person):
    __tablename__ = "engineers"
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    language: Mapped[str] = mapped_column(String(20))


class Versioned(Base):
    __tablename__ = "versioned"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60))
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012
