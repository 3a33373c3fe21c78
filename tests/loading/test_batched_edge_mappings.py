"""Mappings that are rare, or come late: what they hold is batched like everything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Engine, ForeignKey, Table, case, create_engine, inspect, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, backref, mapped_column, registry, relationship
from sqlalchemy.pool import StaticPool

from dal import batched
from dal.testing import count_statements
from tests.loading.edge import same_as_lazy


@pytest.fixture
def memory() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    yield engine
    engine.dispose()


def store(engine: Engine, base: type[DeclarativeBase], *objects: object) -> None:
    base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(objects)
        session.commit()


def batched_statements(engine: Engine, entity: Any, key: str, expected: list[Any]) -> int:
    with Session(engine) as session:
        found = session.scalars(select(entity).order_by(entity.id).options(batched())).all()
        with count_statements(session) as sent:
            values = [getattr(each, key) for each in found]
        assert [len(value) if isinstance(value, list) else value for value in values] == expected
    return sent.count


def test_a_class_mapped_after_the_first_query(memory: Engine) -> None:
    class Base(DeclarativeBase): ...

    class Ship(Base):
        __tablename__ = "ships"
        id: Mapped[int] = mapped_column(primary_key=True)
        decks: Mapped[list[Deck]] = relationship()

    class Deck(Base):
        __tablename__ = "decks"
        id: Mapped[int] = mapped_column(primary_key=True)
        ship_id: Mapped[int] = mapped_column(ForeignKey(Ship.id))

    Base.registry._class_registry.update(Deck=Deck)
    store(memory, Base, *(Ship(decks=[Deck(), Deck()]) for _ in range(3)))
    assert batched_statements(memory, Ship, "decks", [2, 2, 2]) == 1

    class Sailor(Base):
        __tablename__ = "sailors"
        id: Mapped[int] = mapped_column(primary_key=True)
        ship_id: Mapped[int] = mapped_column(ForeignKey(Ship.id))
        ship: Mapped[Ship] = relationship(Ship, backref=backref("crew", order_by="Sailor.id"))

    late = registry()

    @late.mapped
    class Song:
        __table__ = Table(
            "songs", Base.metadata, Column("id", primary_key=True, type_=Sailor.id.type), Column("by", ForeignKey(Sailor.id))
        )
        singer = relationship(Sailor, backref="songs")

    Base.metadata.create_all(memory)
    with Session(memory) as session:
        ships = session.scalars(select(Ship).order_by(Ship.id)).all()
        session.add_all(Sailor(ship=ship, songs=[Song(), Song()]) for ship in ships)
        session.commit()
    assert batched_statements(memory, Ship, "crew", [1, 1, 1]) == 1
    assert batched_statements(memory, Sailor, "songs", [2, 2, 2]) == 1
    with Session(memory) as session:
        songs = session.scalars(select(Song).options(batched())).all()
        with count_statements(session) as sent:
            assert {len(song.singer.songs) for song in songs} == {2}
        assert sent.count == 2
    Base.registry.dispose(cascade=True)


def test_many_to_many_of_a_subclass_of_a_subclass(memory: Engine) -> None:
    """SQLAlchemy before 2.1.7 cannot make the loader of such a relationship by itself."""

    class Base(DeclarativeBase): ...

    class Animal(Base):
        __tablename__ = "animals"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012

    class Bird(Animal):
        __tablename__ = "birds"
        id: Mapped[int] = mapped_column(ForeignKey(Animal.id), primary_key=True)
        __mapper_args__ = {"polymorphic_identity": "bird"}  # noqa: RUF012

    sings = Table("sings", Base.metadata, Column("owl", ForeignKey("owls.id")), Column("song", ForeignKey("tunes.id")))

    class Tune(Base):
        __tablename__ = "tunes"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Owl(Bird):
        __tablename__ = "owls"
        id: Mapped[int] = mapped_column(ForeignKey(Bird.id), primary_key=True)
        tunes: Mapped[list[Any]] = relationship(Tune, secondary=sings, backref="owls")
        __mapper_args__ = {"polymorphic_identity": "owl"}  # noqa: RUF012

    tunes = [Tune(), Tune()]
    store(memory, Base, Animal(), Bird(), *(Owl(tunes=tunes[: n % 3]) for n in range(4)))
    assert batched_statements(memory, Owl, "tunes", [0, 1, 2, 0]) == 1
    assert batched_statements(memory, Tune, "owls", [2, 1]) == 1


def test_a_discriminator_that_is_no_attribute(memory: Engine) -> None:
    class Base(DeclarativeBase): ...

    class Vessel(Base):
        __tablename__ = "vessels"
        id: Mapped[int] = mapped_column(primary_key=True)
        masts: Mapped[int] = mapped_column()
        log: Mapped[str | None] = mapped_column(deferred=True)
        __mapper_args__ = {  # noqa: RUF012
            "polymorphic_identity": "motor",
            "polymorphic_on": case((masts > 0, "sail"), else_="motor"),
        }

    class Sail(Vessel):
        __mapper_args__ = {"polymorphic_identity": "sail"}  # noqa: RUF012

    store(memory, Base, Vessel(masts=0, log="a"), Vessel(masts=0, log="b"))
    assert batched_statements(memory, Vessel, "log", ["a", "b"]) == 1


def test_questions_that_load_nothing(memory: Engine) -> None:
    class Base(DeclarativeBase): ...

    class Root(Base):
        __tablename__ = "roots"
        id: Mapped[int] = mapped_column(primary_key=True)
        leaves: Mapped[list[Any]] = relationship("Leaf", backref="root")

    class Leaf(Base):
        __tablename__ = "leaves"
        id: Mapped[int] = mapped_column(primary_key=True)
        root_id: Mapped[int] = mapped_column(ForeignKey(Root.id))

    store(memory, Base, *(Root(leaves=[Leaf(), Leaf()]) for _ in range(3)))

    def asked(session: Session, options: list[Any]) -> Any:
        roots = session.scalars(select(Root).order_by(Root.id).options(*options)).all()
        Leaf(root=roots[0])
        histories: list[Any] = [inspect(root).attrs.leaves.history for root in roots]
        return [len(history.added or ()) for history in histories], ["leaves" in vars(root) for root in roots]

    with memory.connect():
        same_as_lazy(memory, asked, 1)
