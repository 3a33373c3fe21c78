"""What these tests page over: ties, NULLs and one model of every kind that matters to an order."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    REAL,
    Boolean,
    Column,
    Dialect,
    Enum,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    TypeDecorator,
    Uuid,
    func,
    select,
)
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, column_property, mapped_column, registry, relationship
from sqlalchemy.types import DateTime

METADATA = MetaData()
Moment = DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")


class Base(DeclarativeBase):
    metadata = METADATA
    type_annotation_map = {str: String(60), dt.datetime: Moment}  # noqa: RUF012


class Mood(enum.Enum):
    """Its order in the database is not that of the alphabet."""

    sad = 1
    ok = 2
    happy = 3


class Cents(TypeDecorator[Decimal]):
    """Euros in Python, cents in the database; a value that went through it twice would be off by a factor of 100."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value * 100)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value) / 100


author_tag = Table(
    "author_tag",
    METADATA,
    Column("author_id", ForeignKey("authors.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(unique=True)


class Author(Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    nick: Mapped[str | None]
    group: Mapped[int]
    active: Mapped[bool] = mapped_column(Boolean)
    mood: Mapped[Mood | None] = mapped_column(Enum(Mood))
    rating: Mapped[float | None] = mapped_column(REAL)
    fee: Mapped[Decimal | None] = mapped_column(Cents)
    rate: Mapped[Decimal] = mapped_column(Numeric(12, 4))
    created: Mapped[dt.datetime]
    born: Mapped[dt.date | None]
    code: Mapped[uuid.UUID] = mapped_column(Uuid)
    info: Mapped[str] = mapped_column("_info", String(20))
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id")
    tags: Mapped[list[Tag]] = relationship(secondary=author_tag)

    @hybrid_property
    def shout(self) -> Any:
        return func.upper(self.name)

    @hybrid_property
    def book_count(self) -> int:
        return len(self.books)

    @book_count.inplace.expression
    @classmethod
    def _book_count(cls) -> Any:
        return select(func.count(Book.id)).where(Book.author_id == cls.id).correlate(cls).scalar_subquery()


class Book(Base):
    __tablename__ = "books"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    title: Mapped[str]
    pages: Mapped[int | None]
    b: Mapped[int] = mapped_column()
    c: Mapped[int] = mapped_column()
    author: Mapped[Author] = relationship(back_populates="books")
    score: Mapped[int] = column_property(b + c * 3)


class Seat(Base):
    __tablename__ = "seats"

    letter: Mapped[str] = mapped_column(String(1), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[int | None]


class Animal(Base):
    __tablename__ = "animals"

    id: Mapped[int] = mapped_column("animal_number", primary_key=True)
    kind: Mapped[str]
    name: Mapped[str | None]

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012


class Dog(Animal):
    __tablename__ = "dogs"

    id: Mapped[int] = mapped_column("dog_number", ForeignKey("animals.animal_number"), primary_key=True)
    speed: Mapped[int | None] = mapped_column("how_fast")

    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Cat(Animal):
    lives: Mapped[int | None]

    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012


ledger = Table(
    "ledger", METADATA, Column("number", Integer, primary_key=True), Column("amount", Integer), Column("side", String(5))
)
keyless = Table("keyless", METADATA, Column("amount", Integer), Column("side", String(5)))


class Entry:
    """Mapped imperatively."""

    number: int
    amount: int | None
    side: str | None


registry(metadata=METADATA).map_imperatively(Entry, ledger)

AUTHORS = 14


def fill(session: Session) -> None:
    """Write everything; every value is there several times, NULLs too, except where it must not."""
    tags = [Tag(id=number, label=f"tag {number}") for number in range(1, 4)]
    start = dt.datetime(2024, 2, 29, 23, 59, 59, 999_999)
    for number in range(AUTHORS):
        author = Author(
            id=number + 1,
            name=["Émile", "anna", "Anna", "zoë", "Bo", "a\x01b\\'%s"][number % 6],
            nick=[None, "x", "y", None, "X"][number % 5],
            group=number % 3,
            active=number % 2 == 0,
            mood=[None, Mood.sad, Mood.ok, Mood.happy][number % 4],
            rating=[None, 0.1, 0.2, 0.30000001, -0.0, 1e30][number % 6],
            fee=[None, Decimal("1.10"), Decimal("2.25")][number % 3],
            rate=[Decimal("1.1000"), Decimal("1.0999"), Decimal("-7.5")][number % 3],
            created=start + dt.timedelta(microseconds=number // 3),
            born=[None, dt.date(1999, 12, 31), dt.date(2000, 1, 1)][number % 3],
            code=uuid.UUID(int=(number * 7919) % 13 + 2**100),
            info=f"i{number % 4}",
        )
        author.books = [
            Book(title=f"t{(number + each) % 4}", pages=[None, 100, 200][(number + each) % 3], b=each, c=number % 2)
            for each in range(number % 4)
        ]
        author.tags = tags[: number % 3]
        session.add(author)
    session.add_all(Seat(letter=letter, number=number, price=[None, 5][number % 2]) for letter in "abc" for number in range(4))
    session.add_all(Dog(name=["Rex", None][number % 2], speed=[None, 3, 9][number % 3]) for number in range(7))
    session.add_all(Cat(name=["Tom", None][number % 2], lives=[9, None][number % 2]) for number in range(4))
    rows = [{"number": each, "amount": [None, 3, 5][each % 3], "side": ["left", "right"][each % 2]} for each in range(1, 13)]
    session.execute(ledger.insert(), rows)
    session.execute(keyless.insert(), [{key: each[key] for key in ("amount", "side")} for each in rows[:6]])
