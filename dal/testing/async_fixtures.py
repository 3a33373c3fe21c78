"""The async fixtures, registered by the plugin where pytest-asyncio runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession


@pytest_asyncio.fixture
async def dal_async_connection(dal_shared_database: URL) -> AsyncIterator[AsyncConnection]:
    """An async connection in a transaction that is rolled back after the test; sequences do not go back."""
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    # A test has its own event loop, so a connection cannot stay for the next one.
    engine = create_async_engine(dal_shared_database, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            transaction = await connection.begin()
            try:
                yield connection
            finally:
                if transaction.is_active:
                    await transaction.rollback()
    finally:
        await engine.dispose()


@pytest_asyncio.fixture
async def dal_async_session(dal_async_connection: AsyncConnection) -> AsyncIterator[AsyncSession]:
    """An async session whose commits and rollbacks are savepoints: nothing outlives the test."""
    from sqlalchemy.ext.asyncio import AsyncSession

    async with AsyncSession(dal_async_connection, join_transaction_mode="create_savepoint") as session:
        yield session
