"""Models for what is rare: columns that refuse to load, targets that are no primary keys, relationships with criteria."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, Enum, ForeignKey, MetaData, Uuid, func, select
from sqlalchemy.orm import (
    Composite,
    DeclarativeBase,
    Mapped,
    Session,
    attribute_keyed_dict,
    column_property,
    composite,
    mapped_column,
    relationship,
)

from dal import batched
from dal.testing import count_statements

METADATA = MetaData()


class Base(DeclarativeBase):
    metadata = METADATA


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size:
    def __init__(self, width: int | None, height: int | None) -> None:
        self.width, self.height = width, height

    def __composite_values__(self) -> tuple[int | None, int | None]:
        return self.width, self.height

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and other.__composite_values__() == self.__composite_values__()

    __hash__ = None  # type: ignore[assignment]


class Author(Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    bio: Mapped[str | None] = mapped_column(deferred=True)
    secret: Mapped[str | None] = mapped_column(deferred=True, deferred_raiseload=True)
    street: Mapped[str | None] = mapped_column(deferred=True, deferred_group="address")
    town: Mapped[str | None] = mapped_column(deferred=True, deferred_group="address")
    posts: Mapped[list[Post]] = relationship(back_populates="author", order_by="Post.id")
    newest: Mapped[Post | None] = relationship(viewonly=True, order_by="Post.id.desc()")
    by_title: Mapped[dict[str, Post]] = relationship(viewonly=True, collection_class=attribute_keyed_dict("title"))
    notes: Mapped[list[Note]] = relationship(primaryjoin="Author.code == foreign(Note.code)", viewonly=True, order_by="Note.id")


class Post(Base):
    __tablename__ = "posts"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("authors.id"))
    title: Mapped[str]
    width: Mapped[int | None] = mapped_column(deferred=True, deferred_group="size")
    height: Mapped[int | None] = mapped_column(deferred=True, deferred_group="size")
    size: Composite[Size] = composite("width", "height")
    author: Mapped[Author | None] = relationship(back_populates="posts")


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str | None]
    author: Mapped[Author | None] = relationship(primaryjoin="Author.code == foreign(Note.code)", viewonly=True)


class Paint(Base):
    __tablename__ = "paints"

    token: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    colour: Mapped[Colour] = mapped_column(Enum(Colour), primary_key=True)
    recipe: Mapped[str | None] = mapped_column(deferred=True)


class Link(Base):
    __tablename__ = "links"

    id: Mapped[int] = mapped_column(primary_key=True)
    next_id: Mapped[int | None] = mapped_column(ForeignKey("links.id"))
    next: Mapped[Link | None] = relationship(remote_side="Link.id", back_populates="previous")
    previous: Mapped[list[Link]] = relationship(back_populates="next")


Author.written = column_property(
    select(func.count(Post.id)).where(Post.author_id == Author.id).correlate_except(Post).scalar_subquery(), deferred=True
)

LINKS = 300


def library() -> list[Base]:
    """Return five authors: number n has n posts and two notes; four paints; a chain of 300 links."""
    authors: list[Base] = [
        Author(
            id=n,
            code=f"c{n}",
            name=f"a{n}",
            bio=f"b{n}",
            secret=f"s{n}",
            street=f"r{n}",
            town=f"t{n}",
            posts=[Post(id=10 * n + each, title=f"p{each}", width=n, height=each) for each in range(n)],
        )
        for n in range(1, 6)
    ]
    notes = [Note(id=10 * n + each, code=f"c{n}") for n in range(1, 6) for each in (0, 1)]
    paints = [Paint(token=uuid.UUID(int=n), colour=colour, recipe=f"{colour.name} {n}") for n in (1, 2) for colour in Colour]
    return [*authors, *notes, *paints, Note(id=99)]


def same_as_lazy(engine: Engine, walk: Callable[[Session, list[Any]], Any], statements: int) -> None:
    """Expect a walk to see the same with batched loading, in a number of statements; what it writes is rolled back.

    Args:
        engine: The database.
        walk: Takes a session and the options of its queries, and returns what it saw.
        statements: How many statements the walk may take with batched loading.
    """
    with Session(engine) as session, count_statements(session) as lazily:
        expected = walk(session, [])
        session.rollback()
    with Session(engine) as session, count_statements(session) as sent:
        assert walk(session, [batched()]) == expected
        session.rollback()
    assert sent.count == statements, f"{sent.count} statements instead of {statements}:\n{sent}"
    assert sent.count <= lazily.count
