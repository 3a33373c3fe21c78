"""What the tests of flushes write."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import Column, ForeignKey, Identity, Integer, Numeric, String, Table, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import UserDefinedType


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(60), unique=True)
    age: Mapped[int | None]
    plan: Mapped[str] = mapped_column(String(20), default="free")
    balance: Mapped[Decimal] = mapped_column(Numeric(12, 2), server_default="7")


class Person(Base):
    __tablename__ = "people"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(60))
    badges: Mapped[list[Badge]] = relationship()


class Engineer(Person):
    __tablename__ = "engineers"
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    language: Mapped[str] = mapped_column(String(20))


class Badge(Base):
    __tablename__ = "badges"

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))


class Node(Base):
    __tablename__ = "nodes"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60))
    above_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
    above: Mapped[Node | None] = relationship(remote_side="Node.id")


class Ticket(Base):
    """Its ids are the server's alone."""

    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)


class Shuffled(UserDefinedType[str]):
    """A text that is stored the other way round, by the server."""

    cache_ok = True

    def get_col_spec(self, **options: Any) -> str:
        return "text"

    def bind_expression(self, bindvalue: Any) -> Any:
        return func.reverse(bindvalue)

    def column_expression(self, column: Any) -> Any:
        return func.reverse(column)


class Secret(Base):
    __tablename__ = "secrets"

    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(Shuffled)


class Elsewhere(DeclarativeBase):
    pass


class Odd(Elsewhere):
    __tablename__ = "odd % table"
    __table_args__ = {"schema": "tenant", "postgresql_partition_by": "LIST (part)"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    word: Mapped[str] = mapped_column("a % word")
    note: Mapped[str] = mapped_column(server_default="50 %")


class Keyless(Base):
    """Only the mapper knows of a key."""

    __table__ = Table("keyless", Base.metadata, Column("id", Integer))
    __mapper_args__ = {"primary_key": [__table__.c.id]}  # noqa: RUF012

    id: Mapped[int]
