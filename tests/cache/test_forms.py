"""Every value comes back as it was: forms, types, inheritance, cycles; and what was not loaded is refused with its line."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import ForeignKey, create_engine, inspect, select
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    attribute_keyed_dict,
    column_property,
    composite,
    defer,
    joinedload,
    mapped_column,
    reconstructor,
    relationship,
    selectin_polymorphic,
    selectinload,
)
from sqlalchemy.types import JSON

from dal import NotLoaded, UsageError
from dal.cache import Shape, copies, dictionaries, shapes
from dal.cache.entry import Entry
from dal.cache.frozen import freeze
from tests.cache.models import AUTHORS, Author, Base, Book, Kind, fill


class Rich(DeclarativeBase):
    pass


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __composite_values__(self) -> tuple[int, int]:
        return self.x, self.y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (other.x, other.y) == (self.x, self.y)

    __hash__ = None  # type: ignore[assignment]


class Place(Rich):
    __tablename__ = "places"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    x: Mapped[int] = mapped_column()
    y: Mapped[int]
    at: Mapped[Point] = composite("x", "y")
    double: Mapped[int] = column_property(x + x)
    settings: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSON), default=dict)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("places.id"))
    parent: Mapped[Place | None] = relationship(remote_side="Place.id", back_populates="parts")
    parts: Mapped[list[Place]] = relationship(back_populates="parent")
    labels: Mapped[dict[str, Label]] = relationship(collection_class=attribute_keyed_dict("language"))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "place"}  # noqa: RUF012

    @reconstructor
    def woken(self) -> None:
        self.noise = "made by the reconstructor"


class Town(Place):
    __tablename__ = "towns"

    id: Mapped[int] = mapped_column(ForeignKey("places.id"), primary_key=True)
    people: Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "town"}  # noqa: RUF012


class Label(Rich):
    __tablename__ = "labels"

    id: Mapped[int] = mapped_column(primary_key=True)
    place_id: Mapped[int] = mapped_column(ForeignKey("places.id"))
    language: Mapped[str]


@pytest.fixture
def session() -> Any:
    engine = create_engine("sqlite://")
    for base in (Base, Rich):
        base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
        labels = {each: Label(language=each) for each in ("de", "en")}
        town = Town(id=2, x=3, y=4, people=7, settings={"a": [1]}, labels=labels)
        session.add(Place(id=1, x=1, y=2, parts=[town]))
        session.commit()
        yield session
    engine.dispose()


def through(value: Any, form: Any = copies) -> Any:
    return form(Entry(freeze(value), frozenset(), None, 0))


def test_plain_values_and_collections(session: Session) -> None:
    values = [
        None,
        1,
        1.5,
        "a",
        b"b",
        dt.date(2020, 1, 1),
        Kind.ESSAY,
        (1, 2),
        [1, [2]],
        {"a": [1]},
        {1, 2},
        frozenset({3}),
        (),
    ]
    assert through(values) == values
    assert through({"page": [1, 2], "next": None}) == {"page": [1, 2], "next": None}


def test_rows_stay_rows(session: Session) -> None:
    rows = session.execute(select(Author.id, Author.name.label("called")).order_by(Author.id)).all()
    found = through(rows)
    assert found == rows
    assert [row.called for row in found] == ["a1", "a2", "a3", "a4"]
    mixed = through(session.execute(select(Author, Book.title).join(Book).order_by(Book.id)).all())
    assert mixed[0].Author.name == "a1"
    assert mixed[0].Author is mixed[1].Author
    assert through(rows, dictionaries)[0] == {"id": 1, "called": "a1"}
    assert through(rows, shapes)[0].called == "a1"


@pytest.mark.parametrize("option", [selectinload, joinedload])
def test_copies_are_as_loaded(session: Session, option: Any) -> None:
    loaded = session.scalars(select(Author).options(option(Author.books)).order_by(Author.id)).unique().all()
    found = through(loaded)
    assert len(found) == AUTHORS
    for mine, other in zip(found, loaded, strict=True):
        assert mine is not other
        assert (mine.id, mine.name, mine.born, mine.token, mine.options) == (
            other.id,
            other.name,
            other.born,
            other.token,
            other.options,
        )
        assert [book.price for book in mine.books] == [book.price for book in other.books]
        assert all(book.author is mine for book in mine.books)
        state = inspect(mine)
        assert state.detached
        assert not state.modified
        assert state.identity_key == inspect(other).identity_key


def test_inheritance_composites_mutables_and_dictionaries(session: Session) -> None:
    session.expunge_all()
    options = selectinload(Place.labels), selectinload(Place.parts), selectin_polymorphic(Place, [Town])
    places = select(Place).options(*options).order_by(Place.id)
    first, town = through(session.scalars(places).all())
    assert (type(first), type(town), town.people) == (Place, Town, 7)
    assert (first.at, town.at, town.double) == (Point(1, 2), Point(3, 4), 6)
    assert set(town.labels) == {"de", "en"}
    assert first.parts == [town]
    assert town.parent is first
    assert town.noise == "made by the reconstructor"
    town.settings["b"] = 2
    assert inspect(town).modified


def test_a_copy_goes_on_in_a_session(session: Session) -> None:
    found = through(session.get_one(Author, 1))
    session.expunge_all()
    with pytest.raises(NotLoaded, match=r"Author\.books was not loaded") as refused:
        found.books
    assert "policy=eager(Author.books)" in refused.value.hint
    session.add(found)
    assert [book.title for book in found.books] == ["b1.1", "b1.2"]
    found.name = "changed"
    session.commit()
    assert session.get_one(Author, 1).name == "changed"
    other = through(session.get_one(Author, 2))
    session.expunge_all()
    merged = session.merge(other, load=False)
    assert len(merged.books) == 2


def test_deferred_columns_are_refused_too(session: Session) -> None:
    session.expunge_all()
    found = through(session.scalars(select(Author).options(defer(Author.born))).all())[0]
    assert found.name == "a1"
    with pytest.raises(NotLoaded, match=r"Author\.born"):
        found.born


def test_shapes_cannot_be_changed(session: Session) -> None:
    loaded = session.scalars(select(Author).options(selectinload(Author.books)).order_by(Author.id)).all()
    found = through(loaded, shapes)
    assert isinstance(found, tuple)
    assert isinstance(found[0], Shape)
    assert (found[0].name, found[0].books[1].title, found[0].books[0].author is found[0]) == ("a1", "b1.2", True)
    assert found[0].options["tags"] == ("a", "1")
    assert "name='a1'" in repr(found[0])
    with pytest.raises(UsageError, match="cannot be changed"):
        found[0].name = "x"
    with pytest.raises(UsageError, match="cannot be changed"):
        del found[0].name
    with pytest.raises(TypeError):
        found[0].options["tags"] = ()
    with pytest.raises(NotLoaded, match=r"Author\.notes"):
        found[0].notes
    with pytest.raises(AttributeError, match="nothing"):
        found[0].nothing


def test_dictionaries_are_the_callers_own(session: Session) -> None:
    entry = Entry(
        freeze(session.scalars(select(Book).options(joinedload(Book.author)).order_by(Book.id)).all()), frozenset(), None, 0
    )
    first, second = dictionaries(entry), dictionaries(entry)
    first[0]["title"] = "changed"
    first[0]["author"]["options"]["tags"].append("changed")
    assert second[0]["author"]["options"] == {"tags": ["a", "1"]}
    assert second[0]["title"] == "b1.1"
    assert second[0]["author"]["name"] == "a1"
    assert second[0]["author"] is second[1]["author"]
    assert "notes" not in second[0]["author"]


def test_objects_that_were_changed_are_refused(session: Session) -> None:
    changed = session.get_one(Author, 1)
    changed.name = "x"
    with pytest.raises(UsageError, match="made or changed"):
        freeze([changed])
