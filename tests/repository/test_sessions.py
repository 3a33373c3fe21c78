"""Whatever session the application has: routed to several engines, on a connection, scoped, Flask's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, ForeignKey, create_engine, inspect
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool

from dal import Repository, UnsupportedError, batched, eager, hybrid, lazy
from dal.testing import count_statements


class Base(DeclarativeBase): ...


class Ship(Base):
    __tablename__ = "ships"
    id: Mapped[int] = mapped_column(primary_key=True)
    decks: Mapped[list[Deck]] = relationship()


class Deck(Base):
    __tablename__ = "decks"
    id: Mapped[int] = mapped_column(primary_key=True)
    ship_id: Mapped[int] = mapped_column(ForeignKey("ships.id"))


class Port(Base):
    __tablename__ = "ports"
    id: Mapped[int] = mapped_column(primary_key=True)


@contextmanager
def engines() -> Iterator[tuple[Engine, Engine]]:
    """Make a database of ships and another of ports."""
    ships, ports = (create_engine("sqlite://", poolclass=StaticPool) for _ in range(2))
    Base.metadata.create_all(ships, tables=[Ship.metadata.tables[name] for name in ("ships", "decks")])
    Base.metadata.create_all(ports, tables=[Port.metadata.tables["ports"]])
    yield ships, ports
    ships.dispose()
    ports.dispose()


def routed(ships: Engine, ports: Engine) -> Session:
    class Routed(Session):
        def get_bind(self, mapper: Any = None, **_: Any) -> Engine:
            assert mapper is not None, "a statement that no mapper was named for"
            return ports if inspect(mapper).class_ is Port else ships

    return Routed()


def bound_by_class(ships: Engine, ports: Engine) -> Session:
    return Session(binds={Ship: ships, Deck: ships, Port: ports})


def whole_life(session: Session, ship: Any, deck: Any) -> None:
    """Use every method of a repository once."""
    repository = Repository(session, ship)
    repository.add_all([ship(id=number, decks=[deck(), deck()]) for number in range(1, 5)])
    session.commit()
    for policy, statements in (
        (lazy(), 5),
        (batched(), 2),
        (eager(ship.decks), 2),
        (eager(ship.decks, using="joined"), 1),
        (hybrid(eager=[ship.decks]), 2),
    ):
        session.expunge_all()
        with count_statements(session.get_bind(inspect(ship))) as sent:
            assert [len(each.decks) for each in repository.list(policy=policy)] == [2] * 4
        assert sent.count == statements
    session.expunge_all()
    repository.load(repository.list(), ship.decks)
    assert [repository.count(), repository.exists(), repository.explain(policy=eager(ship.decks)).count] == [4, True, 2]
    assert [each.id if each else None for each in repository.get_many([3, 9])] == [3, None]
    assert (repository.one(ship.id == 2), repository.first(ship.id == 9)) == (repository.get(2), None)
    assert len(list(repository.stream(policy=batched()))) == 4
    assert repository.upsert(ship(id=9), key=[ship.id]).id == 9
    assert repository.update(ship.id == 9, values={ship.id: 10}) == repository.delete(ship.id == 10) == 1
    with pytest.raises(UnsupportedError, match="no row locks"):
        repository.one(ship.id == 1, lock="update")


@pytest.mark.parametrize("make", [routed, bound_by_class])
def test_a_session_of_two_engines(make: Callable[[Engine, Engine], Session]) -> None:
    with engines() as (ships, ports), make(ships, ports) as session:
        whole_life(session, Ship, Deck)
        Repository(session, Port).add(Port(id=1))
        assert Repository(session, Port).count() == 1


def test_a_session_on_a_connection() -> None:
    with engines() as (ships, _), ships.connect() as connection, Session(connection) as session:
        whole_life(session, Ship, Deck)


def test_a_scoped_session() -> None:
    with engines() as (ships, _):
        sessions = scoped_session(sessionmaker(ships))
        repository = Repository(sessions, Ship)
        whole_life(sessions(), Ship, Deck)
        sessions.commit()
        sessions.remove()
        assert repository.count() == 4
        sessions.remove()


def test_a_session_without_an_engine_fails_as_sqlalchemy_does() -> None:
    with Session() as session, pytest.raises(UnboundExecutionError):
        Repository(session, Ship).list(policy=batched())


class Fleet(DeclarativeBase): ...


@pytest.mark.filterwarnings("ignore:Attribute name 'metadata' should be left reserved")  # SQLAlchemy 2.1.0 of Flask's binds
def test_flask_with_two_databases() -> None:
    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", SQLALCHEMY_BINDS={"other": "sqlite://"})
    db = SQLAlchemy(model_class=Fleet)
    db.init_app(app)

    class Boat(db.Model):  # type: ignore[name-defined, misc]
        __bind_key__ = "other"
        id: Mapped[int] = mapped_column(primary_key=True)
        decks: Mapped[list[Any]] = relationship("BoatDeck")

    class BoatDeck(db.Model):  # type: ignore[name-defined, misc]
        __bind_key__ = "other"
        id: Mapped[int] = mapped_column(primary_key=True)
        boat_id: Mapped[int] = mapped_column(ForeignKey("boat.id"))

    with app.app_context():
        db.create_all()
        whole_life(db.session(), Boat, BoatDeck)
        db.session.commit()
        db.session.remove()
        assert Repository(db.session, Boat).count() == 4
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()
