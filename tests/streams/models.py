"""What the streams of these tests are about: an order with every kind of column, and two hierarchies."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import INT4RANGE, JSONB, Range
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Money(TypeDecorator[Decimal]):
    """Cents in the database, a Decimal in Python."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value * 100)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value) / 100


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[str] = mapped_column("shop_name", String(20))
    total: Mapped[int]
    paid: Mapped[bool] = mapped_column(default=False)


class Revenue(Base):
    __tablename__ = "revenues"

    shop: Mapped[str] = mapped_column(primary_key=True)
    window_start: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    revenue: Mapped[int]


class Copy(Base):
    __tablename__ = "copies"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shop: Mapped[str]
    total: Mapped[int]
    paid: Mapped[bool]


class Everything(Base):
    __tablename__ = "everything"

    first: Mapped[int] = mapped_column(primary_key=True)
    second: Mapped[str] = mapped_column(primary_key=True)
    price: Mapped[Decimal | None] = mapped_column(Numeric(12, 3))
    ratio: Mapped[float | None]
    cents: Mapped[Decimal | None] = mapped_column(Money)
    color: Mapped[Color | None] = mapped_column(Enum(Color, name="color"))
    colors: Mapped[list[Color] | None] = mapped_column(ARRAY(Enum(Color, name="color")))
    tags: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    body: Mapped[Any | None] = mapped_column(JSONB)
    token: Mapped[uuid.UUID | None]
    at: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    local: Mapped[dt.datetime | None] = mapped_column(DateTime)
    day: Mapped[dt.date | None]
    time: Mapped[dt.time | None]
    span: Mapped[dt.timedelta | None] = mapped_column(Interval)
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)
    numbers: Mapped[Range[int] | None] = mapped_column(INT4RANGE)
    year: Mapped[int | None]
    long: Mapped[str | None] = mapped_column(Text)


class Employee(Base):
    __tablename__ = "employees"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    type: Mapped[str]

    __mapper_args__ = {"polymorphic_on": "type", "polymorphic_identity": "employee"}  # noqa: RUF012


class Manager(Employee):
    __tablename__ = "managers"

    id: Mapped[int] = mapped_column(ForeignKey("employees.id"), primary_key=True)
    budget: Mapped[int]

    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012


class Animal(Base):
    __tablename__ = "animals"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012


class Dog(Animal):
    tricks: Mapped[int | None]

    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Cat(Animal):
    lives: Mapped[int | None]

    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012


class Seen(Base):
    __tablename__ = "seen"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    order_id: Mapped[int]
    kind: Mapped[str]


class Counted(Base):
    __tablename__ = "counted"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    shop: Mapped[str]
    window_start: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    orders: Mapped[int]
