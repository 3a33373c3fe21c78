from __future__ import annotations

import tracemalloc
from typing import Any, Generic, TypeVar

import pytest
from sqlalchemy import create_engine, insert
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from dal.asyncio import AsyncRepository
from dal.errors import UsageError
from dal.repository import Repository
from tests.repository.conftest import Door
from tests.repository.models import Order, Plain, User

T = TypeVar("T")
K = TypeVar("K")


class Users(Repository[User]): ...


class Admins(Users): ...


class Named(Repository["Order"]): ...


class Missing(Repository["Nobody"]): ...  # type: ignore[name-defined]


class Base(Repository[T], Generic[K, T]): ...


class Orders(Base[int, Order]): ...


class Mixed(Admins, Generic[K]): ...


@pytest.mark.parametrize(
    ("repository", "entity"),
    [(Users, User), (Admins, User), (Named, Order), (Orders, Order), (Mixed, User), (Repository[User], User)],
)
def test_entity_from_the_generic_argument(repository: Any, entity: type) -> None:
    with Session() as session:
        if repository is Repository[User]:
            repository = type("Made", (), {}) and repository
            with pytest.raises(UsageError, match="does not say which entity"):
                repository(session)
            return
        assert repository(session).add(entity()).__class__ is entity


@pytest.mark.parametrize("repository", [Repository, Base, Missing, AsyncRepository])
def test_no_entity(repository: Any) -> None:
    session = AsyncSession() if repository is AsyncRepository else Session()
    with pytest.raises(UsageError) as raised:
        repository(session)
    assert "write" in raised.value.hint


def test_explicit_entity_wins() -> None:
    with Session() as session:
        assert Base[int, Order](session, Order).add(Order()).__class__ is Order


def test_scoped_session(url: str) -> None:
    engine = create_engine(url)
    sessions = scoped_session(sessionmaker(engine))
    users = Users(sessions)
    users.add(User(id=4711, email="never committed"))
    assert users.session is sessions()
    assert users.exists(User.email == "never committed")
    sessions.remove()
    assert not users.exists(User.email == "never committed")
    sessions.remove()
    engine.dispose()


async def test_async_scoped_session(url: str) -> None:
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    sessions = async_scoped_session(async_sessionmaker(engine), scopefunc=lambda: 1)
    users = AsyncRepository(sessions, User)
    await users.add(User(id=4711, email="never committed"))
    assert await users.exists(User.email == "never committed")
    await sessions.remove()
    assert not await users.exists(User.email == "never committed")
    await sessions.remove()
    await engine.dispose()


async def test_stream_takes_constant_memory(door: Door) -> None:
    def fill(session: Session) -> None:
        session.execute(insert(Plain), [{"id": n, "name": "p" * 200, "number": n} for n in range(20_000)])
        session.commit()

    await door.run(fill)

    async def peak(rows: int) -> int:
        tracemalloc.start()
        stream = door.repository(Plain).stream(Plain.number < rows, batch=200)
        seen = 0
        if hasattr(stream, "__aiter__"):
            async for _ in stream:
                seen += 1
        else:
            for _ in stream:
                seen += 1
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seen == rows
        return highest

    await peak(1_000)
    small, large = await peak(2_000), await peak(20_000)
    assert large < small * 1.5, (small, large)


def test_the_session_of_the_other_door() -> None:
    with pytest.raises(UsageError, match="not AsyncSession") as raised:
        Repository(AsyncSession(), User)  # type: ignore[arg-type]
    assert raised.value.hint == "write AsyncRepository(session, User)"
    with pytest.raises(UsageError, match="not Session") as raised:
        AsyncRepository(Session(), User)  # type: ignore[arg-type]
    assert raised.value.hint == "write Repository(session, User)"
