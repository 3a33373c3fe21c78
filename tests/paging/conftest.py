"""A filled database on each server, shared by the tests that only read."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session

from dal import CursorConfig
from dal.testing import Server
from tests.mariadb import database_of_its_own
from tests.paging.models import METADATA, fill

CONFIG = CursorConfig(keys=["the key of these tests"])


@pytest.fixture(scope="session", params=["sqlite", "postgresql", "mariadb"])
def library(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The engine of a filled database; nobody writes there."""
    for engine in shared_server(request):
        METADATA.drop_all(engine)
        METADATA.create_all(engine)
        with Session(engine) as session, session.begin():
            fill(session)
        yield engine
        METADATA.drop_all(engine)


def shared_server(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Yield the engine of a database on the server that a fixture names."""
    if request.param == "postgresql":
        yield from postgresql(request)
        return
    on_mariadb = request.param == "mariadb"
    engine = create_engine(database_of_its_own(request.getfixturevalue("mariadb_server")) if on_mariadb else "sqlite://")
    yield engine
    engine.dispose()


def postgresql(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Yield the engine of a database of its own on PostgreSQL."""
    server: Server = request.getfixturevalue("dal_server")
    name = f"paging_{uuid.uuid4().hex}"
    engine = create_engine(server.create_database(name))
    yield engine
    engine.dispose()
    server.drop_database(name)


@pytest.fixture
def session(library: Engine) -> Iterator[Session]:
    with Session(library, info=CONFIG.info()) as session:
        yield session


@pytest.fixture
def sent(library: Engine) -> Iterator[list[str]]:
    """The statements that are sent."""
    found: list[str] = []

    def record(_: object, __: object, sql: str, *___: object) -> None:
        found.append(sql)

    event.listen(library, "before_cursor_execute", record)
    yield found
    event.remove(library, "before_cursor_execute", record)
