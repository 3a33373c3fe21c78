"""The promised lines of repositories, as a user writes them, through both doors."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import inspect, select, true
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import raiseload

from dal import AsyncDatabase, AsyncRepository, Database, MultipleFound, NotFound, Repository, UsageError, eager, hybrid
from dal.testing import count_statements
from tests.promise.models import USERS, Item, Order, User


class Users(Repository[User]):
    policy = hybrid(eager=[User.profile])


class AsyncUsers(AsyncRepository[User]):
    policy = hybrid(eager=[User.profile])


cutoff = dt.datetime(2026, 1, 1)


def missing(user: User | None) -> set[str]:
    return inspect(user).unloaded if user is not None else set()


def test_reading(db: Database) -> None:
    with db.session() as session:
        users = Users(session)
        assert Repository(session, User).count() == USERS

        user7 = users.get(7)
        assert user7 is not None
        assert missing(user7) == {"orders"}, "the policy of the class is in force"
        assert users.get(70) is None
        with count_statements(session) as sent:
            found = users.get_many([7, 9, 9, 1])
        assert [user.id if user else None for user in found] == [7, 9, 9, 1]
        assert found[0] is user7
        assert sent.count == 1
        assert users.get_many([70, 1])[0] is None

        assert users.one(User.email == "n3@b").id == 3
        with pytest.raises(NotFound):
            users.one(User.email == "nobody")
        with pytest.raises(MultipleFound):
            users.one(User.active)
        first = users.first(User.active)
        assert first is not None
        assert users.first(User.email == "nobody") is None

        session.expunge_all()
        with count_statements(session) as sent:
            listed = users.list(User.active, order_by=User.name.desc(), limit=20, policy=eager(User.orders))
        assert [user.name for user in listed] == [f"n{number}" for number in range(8, 0, -1)]
        assert sent.count == 2
        assert missing(listed[0]) == set(), "orders by the query, the profile by the repository"
        joined = users.list(select(User).join(User.orders).where(Order.total > 105))
        assert {user.id for user in joined} == {6, 7, 8, 9}
        assert users.count(User.active) == 8
        assert users.exists(User.email == "n3@b") is True
        assert users.exists(User.email == "nobody") is False


def test_writing(db: Database) -> None:
    with db.session() as session:
        users = Users(session)
        users.add(User(id=20, email="a@b", name="Ada"))
        users.add_all([User(id=21, email="c@d", name="Cleo"), User(id=22, email="e@f", name="Eve")])
        assert users.count() == USERS + 3
        assert users.update(User.active, values={User.plan: "free"}) == 11
        assert users.delete(User.deleted_at < cutoff) == 0
        with pytest.raises(UsageError, match="without a filter"):
            users.delete()
        with pytest.raises(UsageError, match="without a filter"):
            users.update(values={User.plan: "free"})
        assert users.update(true(), values={User.plan: "paid"}) == 12
        for lock in ("update", "share", "skip_locked", "nowait"):
            assert users.one(User.id == 7, lock=lock).id == 7
        before = users.count()
        upserted = users.upsert(User(email="a@b", name="Ada Lovelace"), key=[User.email])
        assert (upserted.id, upserted.name, users.count()) == (20, "Ada Lovelace", before)
        assert users.delete(User.email == "a@b") == 1
    with db.session() as session:
        assert Users(session).count() == USERS, "a repository never commits"


def test_explaining_streaming_and_loading(db: Database) -> None:
    with db.session() as session:
        users = Users(session)
        explained = users.explain(User.active, policy=eager(User.orders))
        assert explained.count == 2
        assert "FROM orders" in explained.statements[1].sql
        assert "Scan" in explained.statements[1].plan

        names = []
        for user in users.stream(User.active, batch=500):
            names.append(user.name)  # noqa: PERF401
        assert len(names) == 8
        session.expunge_all()
        found = users.list()
        with count_statements(session) as sent:
            users.load(found, User.orders, Order.items)
        assert sent.count == 2
        with count_statements(session) as sent:
            assert sum(len(order.items) for user in found for order in user.orders) == USERS * 4
        assert sent.count == 0


def test_what_is_refused_before_anything_is_sent(db: Database) -> None:
    with db.session() as session, count_statements(session) as sent:
        users = Users(session)
        with pytest.raises(UsageError, match="orders, which the statement does not contain"):
            users.list(Order.total > 100)
        with pytest.raises(UsageError, match="this select\\(\\) returns Order"):
            users.list(select(Order))
        assert sent.count == 0


async def test_reading_through_the_async_door(async_db: AsyncDatabase) -> None:
    async with async_db.session() as session:
        users = AsyncUsers(session)
        assert await AsyncRepository(session, User).count() == USERS

        user7 = await users.get(7)
        assert user7 is not None
        assert missing(user7) == {"orders"}
        with count_statements(session) as sent:
            found = await users.get_many([7, 9, 9, 1])
        assert [user.id if user else None for user in found] == [7, 9, 9, 1]
        assert found[0] is user7
        assert sent.count == 1

        assert (await users.one(User.email == "n3@b")).id == 3
        with pytest.raises(NotFound):
            await users.one(User.email == "nobody")
        with pytest.raises(MultipleFound):
            await users.one(User.active)
        assert await users.first(User.active) is not None

        session.expunge_all()
        with count_statements(session) as sent:
            listed = await users.list(User.active, order_by=User.name.desc(), limit=20, policy=eager(User.orders))
        assert [user.name for user in listed] == [f"n{number}" for number in range(8, 0, -1)]
        assert sent.count == 2
        assert missing(listed[0]) == set()
        joined = await users.list(select(User).join(User.orders).where(Order.total > 105))
        assert {user.id for user in joined} == {6, 7, 8, 9}
        assert await users.count(User.active) == 8
        assert await users.exists(User.email == "n3@b") is True


async def test_writing_through_the_async_door(async_db: AsyncDatabase) -> None:
    async with async_db.session() as session:
        users = AsyncUsers(session)
        await users.add(User(id=20, email="a@b", name="Ada"))
        await users.add_all([User(id=21, email="c@d", name="Cleo"), User(id=22, email="e@f", name="Eve")])
        assert await users.count() == USERS + 3
        assert await users.update(User.active, values={User.plan: "free"}) == 11
        assert await users.delete(User.deleted_at < cutoff) == 0
        with pytest.raises(UsageError, match="without a filter"):
            await users.delete()
        assert await users.update(true(), values={User.plan: "paid"}) == 12
        for lock in ("update", "share", "skip_locked", "nowait"):
            assert (await users.one(User.id == 7, lock=lock)).id == 7
        upserted = await users.upsert(User(email="a@b", name="Ada Lovelace"), key=[User.email])
        assert (upserted.id, upserted.name) == (20, "Ada Lovelace")
    async with async_db.session() as session:
        assert await AsyncUsers(session).count() == USERS


async def test_explaining_streaming_and_loading_through_the_async_door(async_db: AsyncDatabase) -> None:
    async with async_db.session() as session:
        users = AsyncUsers(session)
        explained = await users.explain(User.active, policy=eager(User.orders))
        assert explained.count == 2
        names = []
        async for user in users.stream(User.active, batch=500):
            names.append(user.name)  # noqa: PERF401
        assert len(names) == 8
        session.expunge_all()
        found = await users.list()
        with count_statements(session) as sent:
            await users.load(found, User.orders, Order.items)
        assert sent.count == 2
        assert sum(len(order.items) for user in found for order in user.orders) == USERS * 4


def test_the_options_of_a_plain_select_come_first(db: Database) -> None:
    with db.session() as session:
        statement = select(User).options(raiseload(User.profile))
        found = Users(session).list(statement, policy=eager(User.orders, Order.items, Item.product))
        with pytest.raises(InvalidRequestError, match="raise"):
            found[0].profile
        assert found[0].orders[0].items[0].product.name == "tea"
