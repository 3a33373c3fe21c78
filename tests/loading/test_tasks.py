"""The async door: what is not loaded says what to await, one awaited attribute fills its peers, gather is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import ForeignKey, create_engine, exc, select
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncAttrs, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.pool import NullPool

from dal import AsyncRepository, batched, eager, hybrid, lazy, strict, using_policy
from dal.errors import NotAwaited, NotLoaded, UsageError
from tests.loading.counting import expect
from tests.loading.models import Order, User


class Base(AsyncAttrs, DeclarativeBase): ...


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    bio: Mapped[str] = mapped_column(deferred=True)
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


@pytest_asyncio.fixture
async def library(dal_database: URL) -> AsyncIterator[AsyncSession]:
    """Ten authors with two books each, in AsyncAttrs."""
    sync = create_engine(dal_database, poolclass=NullPool)
    Base.metadata.create_all(sync)
    with sync.begin() as connection:
        connection.execute(Author.__table__.insert(), [{"id": n, "bio": f"b{n}"} for n in range(1, 11)])  # type: ignore[attr-defined]
        connection.execute(Book.__table__.insert(), [{"author_id": n} for n in range(1, 11) for _ in "ab"])  # type: ignore[attr-defined]
    engine = create_async_engine(dal_database, poolclass=NullPool)
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


@pytest.mark.parametrize("policy", [batched(), lazy(), eager()])
async def test_a_plain_read_says_what_to_await(async_session: AsyncSession, policy: object) -> None:
    found = (await async_session.scalars(select(User).options(policy))).all()  # type: ignore[arg-type]
    with expect(async_session, 0), pytest.raises(NotAwaited) as refused:
        found[0].orders
    assert "User.orders is not loaded" in str(refused.value)
    assert "await users.load(found, User.orders)" in refused.value.hint
    assert "await object.awaitable_attrs.orders" in refused.value.hint
    assert "policy=eager(User.orders)" in refused.value.hint
    assert isinstance(refused.value, exc.MissingGreenlet)


async def test_plain_reads_of_columns(async_session: AsyncSession) -> None:
    found = (await async_session.scalars(select(User).options(batched()))).all()
    with pytest.raises(NotAwaited, match=r"User\.bio"):
        found[0].bio
    await async_session.commit()
    with pytest.raises(NotAwaited, match="User"):
        found[0].name


async def test_it_can_be_told_from_a_strict_refusal(async_session: AsyncSession) -> None:
    found = (await async_session.scalars(select(User).options(strict()))).all()
    with pytest.raises(NotLoaded) as refused:
        found[0].orders
    assert "User.orders" in str(refused.value)


async def test_a_repository_tells_without_any_policy(async_session: AsyncSession) -> None:
    found = await AsyncRepository(async_session, User).list()
    with pytest.raises(NotAwaited, match=r"User\.orders"):
        found[0].orders


async def test_after_the_error_the_session_goes_on(async_session: AsyncSession) -> None:
    users = AsyncRepository(async_session, User)
    found = await users.list(policy=batched(), order_by=User.id)
    with pytest.raises(NotAwaited):
        found[0].orders
    with expect(async_session, 1):
        await users.load(found, User.orders)
    assert [len(user.orders) for user in found] == [1, 2, 3, 0, 1, 2]


async def test_run_sync(async_session: AsyncSession) -> None:
    found = (await async_session.scalars(select(User).order_by(User.id).options(batched()))).all()
    with expect(async_session, 2):
        counts = await async_session.run_sync(lambda _: [len(order.items) for user in found for order in user.orders])
    assert counts == [2] * 9


async def test_eager_needs_no_await(async_session: AsyncSession) -> None:
    statement = select(User).order_by(User.id).options(hybrid(eager=[User.orders, Order.items]))
    found = (await async_session.scalars(statement)).all()
    assert [len(order.items) for user in found for order in user.orders] == [2] * 9


async def test_awaiting_one_attribute_fills_its_peers(library: AsyncSession) -> None:
    authors = (await library.scalars(select(Author).order_by(Author.id).options(batched()))).all()
    with expect(library, 1):
        assert len(await authors[3].awaitable_attrs.books) == 2
        assert [len(author.books) for author in authors] == [2] * 10
    with expect(library, 1):
        await authors[0].awaitable_attrs.bio
        assert [author.bio for author in authors] == [f"b{n}" for n in range(1, 11)]


async def test_awaiting_after_a_commit(library: AsyncSession) -> None:
    authors = (await library.scalars(select(Author).options(batched()))).all()
    await library.commit()
    with expect(library, 1):
        await authors[0].awaitable_attrs.id
        assert {author.id for author in authors} == set(range(1, 11))


async def test_gather_over_one_session_is_told(library: AsyncSession) -> None:
    authors = (await library.scalars(select(Author).options(batched()))).all()
    results = await asyncio.gather(
        *(author.awaitable_attrs.books for author in authors[:1]),
        *(author.awaitable_attrs.bio for author in authors[:3]),
        return_exceptions=True,
    )
    refused = [each for each in results if isinstance(each, UsageError)]
    assert refused
    assert "two tasks use one AsyncSession at the same time: Author.books and Author.bio" in str(refused[0])
    assert "give each task a session" in refused[0].hint
    assert len(authors[0].books) == 2


async def test_one_after_the_other_is_fine(library: AsyncSession) -> None:
    authors = (await library.scalars(select(Author).options(batched()))).all()
    with expect(library, 1):
        for author in authors:
            assert len(await author.awaitable_attrs.books) == 2


async def test_nested_loads_in_one_task(library: AsyncSession) -> None:
    authors = (await library.scalars(select(Author).options(batched()))).all()
    await library.run_sync(lambda _: [book.author.bio for author in authors for book in author.books])


async def test_tasks_with_a_session_each(library: AsyncSession) -> None:
    async def walk() -> int:
        async with AsyncSession(library.bind) as session:
            authors = (await session.scalars(select(Author).options(batched()))).all()
            await authors[0].awaitable_attrs.books
            return sum(len(author.books) for author in authors)

    assert await asyncio.gather(*(walk() for _ in range(8))) == [20] * 8


async def test_a_block_is_of_its_task(library: AsyncSession) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def elsewhere() -> None:
        with using_policy(strict()):
            entered.set()
            await leave.wait()

    task = asyncio.create_task(elsewhere())
    await entered.wait()
    authors = (await library.scalars(select(Author).options(batched()))).all()
    assert len(await authors[0].awaitable_attrs.books) == 2
    leave.set()
    await task


async def test_a_failed_load_does_not_block_the_next(library: AsyncSession) -> None:
    authors = (await library.scalars(select(Author).options(strict()))).all()
    for author in authors[:2]:
        with pytest.raises(NotLoaded):
            await author.awaitable_attrs.books


async def test_stream(library: AsyncSession) -> None:
    statement = select(Author).order_by(Author.id).options(batched()).execution_options(yield_per=5)
    with expect(library, 3):
        async for chunk in (await library.stream_scalars(statement)).partitions():
            await chunk[0].awaitable_attrs.books
            assert [len(author.books) for author in chunk] == [2] * 5
