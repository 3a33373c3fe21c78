"""The models of these tests: a small shop, and one model of every kind that SQLAlchemy can map."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, ColumnElement, ForeignKey, Integer, MetaData, String, Table, func, select
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    attribute_keyed_dict,
    column_property,
    mapped_column,
    registry,
    relationship,
)
from sqlmodel import Field, SQLModel

METADATA = MetaData()


class Base(DeclarativeBase):
    metadata = METADATA


user_tag = Table(
    "user_tag",
    METADATA,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True),
)


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String, unique=True)
    name: Mapped[str] = mapped_column(default="anonymous")
    plan: Mapped[str] = mapped_column(default="free")
    active: Mapped[bool] = mapped_column(default=True)
    age: Mapped[int | None]
    bio: Mapped[str | None] = mapped_column(deferred=True)
    updated_at: Mapped[dt.datetime | None] = mapped_column(onupdate=lambda: dt.datetime(2026, 1, 1))
    orders: Mapped[list[Order]] = relationship(back_populates="user", order_by="Order.total.desc()")
    tags: Mapped[list[Tag]] = relationship(secondary=user_tag, back_populates="users")

    if TYPE_CHECKING:
        order_count: Mapped[int]

    @hybrid_property
    def shout(self) -> str:
        return self.name.upper()

    @shout.inplace.expression
    @classmethod
    def _shout(cls) -> ColumnElement[str]:
        return func.upper(cls.name)


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    total: Mapped[int]
    user: Mapped[User | None] = relationship(back_populates="orders")
    items: Mapped[dict[str, Item]] = relationship(
        back_populates="order",
        collection_class=attribute_keyed_dict("name"),
    )


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    name: Mapped[str]
    order: Mapped[Order] = relationship(back_populates="items")


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str]
    users: Mapped[list[User]] = relationship(secondary=user_tag, back_populates="tags")


class Category(Base):
    __tablename__ = "categories"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))
    name: Mapped[str]
    children: Mapped[list[Category]] = relationship(back_populates="parent", order_by="Category.name")
    parent: Mapped[Category | None] = relationship(back_populates="children", remote_side="Category.id")


class Summary(Base):
    """Read from a subquery, not from a table."""

    user_id: Mapped[int]
    total: Mapped[int]
    __table__ = select(Order.user_id, func.sum(Order.total).label("total")).group_by(Order.user_id).subquery("summary")
    __mapper_args__ = {"primary_key": [__table__.c.user_id]}  # noqa: RUF012


User.order_count = column_property(
    select(func.count(Order.id)).where(Order.user_id == User.id).correlate_except(Order).scalar_subquery(), deferred=True
)


class Document(Base):
    """Written only by those who have seen its last version."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Plain(Base):
    __tablename__ = "plains"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    number: Mapped[int] = mapped_column("number_column")


class Point(MappedAsDataclass, Base):
    __tablename__ = "points"

    name: Mapped[str]
    number: Mapped[int]
    id: Mapped[int | None] = mapped_column(primary_key=True, default=None)


ledgers = Table(
    "ledgers",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("number", Integer, nullable=False),
)


class Ledger:
    name: Any
    number: Any

    def __init__(self, id: int, name: str, number: int) -> None:  # noqa: A002
        self.id, self.name, self.number = id, name, number


registry(metadata=METADATA).map_imperatively(Ledger, ledgers)


class Hero(SQLModel, table=True):
    __tablename__ = "heroes"

    id: int | None = Field(default=None, primary_key=True)
    name: str
    number: int


class Line(Base):
    __tablename__ = "lines"

    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    note: Mapped[str] = mapped_column(default="")


class Employee(Base):
    __tablename__ = "employees"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}  # noqa: RUF012


class Engineer(Employee):
    __tablename__ = "engineers"

    employee_id: Mapped[int] = mapped_column(ForeignKey("employees.id"), primary_key=True)
    number: Mapped[int]
    tools: Mapped[list[Tool]] = relationship(back_populates="engineer")
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012


class Tool(Base):
    __tablename__ = "tools"

    id: Mapped[int] = mapped_column(primary_key=True)
    engineer_id: Mapped[int] = mapped_column(ForeignKey("engineers.employee_id"))
    engineer: Mapped[Engineer] = relationship(back_populates="tools")


class Vehicle(Base):
    __tablename__ = "vehicles"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}  # noqa: RUF012


class Truck(Vehicle):
    number: Mapped[int | None]
    __mapper_args__ = {"polymorphic_identity": "truck"}  # noqa: RUF012


@dataclass(frozen=True)
class Kind:
    """One way of mapping: how to make the object number `i`, and what its key is then."""

    cls: Any
    make: Callable[[int], Any]
    key: Callable[[int], Any] = lambda i: i


KINDS = {
    "declarative": Kind(Plain, lambda i: Plain(id=i, name=f"n{i}", number=i)),
    "dataclass": Kind(Point, lambda i: Point(id=i, name=f"n{i}", number=i)),
    "imperative": Kind(Ledger, lambda i: Ledger(id=i, name=f"n{i}", number=i)),
    "sqlmodel": Kind(Hero, lambda i: Hero(id=i, name=f"n{i}", number=i)),
    "composite key": Kind(Line, lambda i: Line(number=i, name=f"n{i}"), lambda i: (i, f"n{i}")),
    "joined inheritance": Kind(Engineer, lambda i: Engineer(id=i, name=f"n{i}", number=i)),
    "single-table inheritance": Kind(Truck, lambda i: Truck(id=i, name=f"n{i}", number=i)),
}
