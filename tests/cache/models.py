"""Authors and their books, with values of many types."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from typing import Any

from sqlalchemy import JSON, ForeignKey, Numeric, delete, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Kind(enum.Enum):
    NOVEL = "novel"
    ESSAY = "essay"


class Author(Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    born: Mapped[dt.date | None]
    token: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4)
    options: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id", passive_deletes=True)
    notes: Mapped[list[Note]] = relationship()


class Book(Base):
    __tablename__ = "books"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id", ondelete="CASCADE"))
    title: Mapped[str]
    kind: Mapped[Kind] = mapped_column(default=Kind.NOVEL)
    price: Mapped[decimal.Decimal] = mapped_column(Numeric(8, 2), default=decimal.Decimal("9.90"))
    author: Mapped[Author] = relationship(back_populates="books")


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("authors.id"))


AUTHORS = 4


def fill(session: Session) -> None:
    """Write four authors with two books each, and nothing else."""
    for model in (Note, Book, Author):
        session.execute(delete(model))
    for number in range(1, AUTHORS + 1):
        books = [Book(id=number * 10 + each, title=f"b{number}.{each}") for each in (1, 2)]
        options = {"tags": ["a", str(number)]}
        session.add(Author(id=number, name=f"a{number}", born=dt.date(1900, 1, number), options=options, books=books))


def authors(session: Session) -> list[Author]:
    """Read all authors."""
    return list(session.scalars(select(Author).order_by(Author.id)))
