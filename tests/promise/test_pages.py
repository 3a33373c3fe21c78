"""The promised lines of pages, as a user writes them, through both doors."""

from __future__ import annotations

import pytest

from dal import (
    AsyncDatabase,
    AsyncRepository,
    CursorConfig,
    CursorError,
    Database,
    Page,
    Repository,
    Total,
    UsageError,
    eager,
    using_cursors,
)
from dal.testing import count_statements
from tests.promise.models import User


class Users(Repository[User]):
    pass


class AsyncUsers(AsyncRepository[User]):
    pass


def test_pages(db: Database) -> None:
    with db.session() as session:
        users = Users(session)
        page: Page[User] = users.page(User.active, order_by=[User.created_at.desc()], size=50, total="bounded")
        assert len(page.items) == 8
        assert page.next is None
        assert page.previous is None
        assert page.total == Total(8, exact=True)

        page = users.page(User.active, order_by=[User.created_at.desc()], size=3)
        assert page.total is None
        assert page.next is not None
        after = users.page(User.active, order_by=[User.created_at.desc()], size=3, after=page.next)
        last = users.page(User.active, order_by=[User.created_at.desc()], size=3, after=after.next)
        assert last.next is None
        assert [user.id for user in (*page, *after, *last)] == [8, 7, 6, 5, 4, 3, 2, 1]
        before = users.page(User.active, order_by=[User.created_at.desc()], size=3, before=last.previous)
        assert before.items == after.items

        for total in ("none", "exact", "bounded", "estimate"):
            assert (users.page(total=total).total is None) == (total == "none")

        session.expunge_all()
        with count_statements(session) as sent:
            page = users.page(User.active, order_by=[User.created_at.desc()], size=3, policy=eager(User.orders))
            assert all(user.orders for user in page.items)
        assert sent.count == 2

        with count_statements(session) as sent:
            for cursor in ("rubbish", after.next, (page.next or "")[:-1]):
                with pytest.raises(CursorError):
                    users.page(order_by=[User.created_at], size=3, after=cursor)
            with pytest.raises(UsageError):
                users.page(size=0)
        assert sent.count == 0


def test_walking_in_batches(db: Database) -> None:
    with db.session() as session:
        users = Users(session)
        assert [len(batch) for batch in users.in_batches(User.active, size=5)] == [5, 3]
        assert len(list(users.stream(User.active, batch=5, keyset=True))) == 8


def test_keys_of_an_application(db: Database) -> None:
    keys = CursorConfig(keys=["a secret of the shop's own"], production=True, expires="1h")
    with Database(db.url, cursors=keys) as shop, shop.session() as session:
        with using_cursors(owner="tenant 7"):
            page = Users(session).page(size=2)
            assert len(Users(session).page(size=2, after=page.next)) == 2
        with pytest.raises(CursorError):
            Users(session).page(size=2, after=page.next)


async def test_the_async_door(async_db: AsyncDatabase) -> None:
    async with async_db.session() as session:
        users = AsyncUsers(session)
        page = await users.page(User.active, order_by=[User.created_at.desc()], size=3, total="exact")
        assert page.total == Total(8, exact=True)
        after = await users.page(User.active, order_by=[User.created_at.desc()], size=3, after=page.next)
        before = await users.page(User.active, order_by=[User.created_at.desc()], size=3, before=after.previous)
        assert before.items == page.items
        assert [len(batch) async for batch in users.in_batches(User.active, size=5)] == [5, 3]
