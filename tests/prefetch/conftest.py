"""A town: people with a home each and places on a map, seen through either door."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.engine import URL

from dal import Database, PoolConfig
from tests.prefetch.doors import DOORS, Town, open_town
from tests.prefetch.town import Base, fill

Open = Callable[..., Town]


@pytest.fixture
def town_url(dal_database: URL) -> URL:
    """The URL of a town of the test's own."""
    with Database(dal_database, pool=PoolConfig(min_pool_size=1, max_pool_size=2)) as db:
        Base.metadata.create_all(db.engine)
        db.run(fill)
    return dal_database


@pytest.fixture(params=DOORS)
def town(request: pytest.FixtureRequest, town_url: URL) -> Iterator[Town]:
    """A town through each door."""
    with open_town(request.param, town_url) as opened:
        yield opened


@pytest.fixture(params=DOORS)
def opened(request: pytest.FixtureRequest, town_url: URL) -> Callable[..., Any]:
    """Open a town through each door, with options of the test's own."""
    return lambda **options: open_town(request.param, town_url, **options)
