"""One database with a shop in it; tests change it in transactions that they roll back."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from dal.testing import Server
from tests.loading.models import METADATA, shop


@pytest.fixture(scope="session")
def shop_url(dal_server: Server) -> Iterator[URL]:
    name = f"loading_{uuid.uuid4().hex}"
    url = dal_server.create_database(name)
    engine = create_engine(url, poolclass=NullPool)
    METADATA.create_all(engine)
    with Session(engine) as session:
        session.add_all(shop())
        session.commit()
    yield url
    dal_server.drop_database(name)


@pytest.fixture(scope="session")
def shop_engine(shop_url: URL) -> Iterator[Engine]:
    engine = create_engine(shop_url)
    yield engine
    engine.dispose()


@pytest.fixture
def session(shop_engine: Engine) -> Iterator[Session]:
    with Session(shop_engine) as session:
        yield session


@pytest_asyncio.fixture
async def async_session(shop_url: URL) -> AsyncIterator[AsyncSession]:
    engine = create_async_engine(shop_url, poolclass=NullPool)
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()
