"""A database of the test's own behind each door."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import URL

from tests.database.doors import DOORS, Door, open_door


@pytest.fixture(params=DOORS)
def opened(request: pytest.FixtureRequest, dal_database: URL) -> Iterator[Callable[..., Door]]:
    """Open the test's database through either door."""
    with ExitStack() as stack:
        yield lambda url=dal_database, **options: stack.enter_context(open_door(request.param, url, **options))


@pytest.fixture
def db(opened: Callable[..., Door]) -> Door:
    return opened()


@pytest.fixture
def beside(dal_database: URL) -> Iterator[psycopg.Connection[Any]]:
    """A connection beside the application, in autocommit."""
    conninfo = dal_database.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE stock (id int PRIMARY KEY, amount int NOT NULL)")
        connection.execute("INSERT INTO stock VALUES (1, 10), (2, 10)")
        yield connection
