from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from dal.errors import UsageError
from dal.loading import Policies, Policy, batched, eager, hybrid, using_policy
from tests.repository.conftest import Door, done, drain
from tests.repository.models import Item, Order, User


def people() -> list[User]:
    return [
        User(id=number, email=f"u{number}", orders=[Order(total=number, items={"a": Item(name="a")}) for _ in range(2)])
        for number in range(1, 4)
    ]


def touch(users: list[User]) -> Any:
    return lambda session: [len(order.items) for user in users for order in user.orders]


async def test_policy_of_the_query(door: Door) -> None:
    await door.seed(*people())
    users = door.repository(User)
    reads: list[Callable[[Policy], Any]] = [
        lambda policy: users.list(policy=policy),
        lambda policy: users.get_many([1, 2, 3], policy=policy),
        lambda policy: drain(users.stream(policy=policy)),
    ]
    for read in reads:
        await door.run(lambda session: session.expunge_all())
        with door.expect(3):
            found = await done(read(eager(User.orders, Order.items)))
            assert await door.run(touch(found)) == [1] * 6
    ones: list[Callable[[Policy], Any]] = [
        lambda policy: users.get(1, policy=policy),
        lambda policy: users.one(User.id == 1, policy=policy),
        lambda policy: users.first(policy=policy),
    ]
    for one in ones:
        await door.run(lambda session: session.expunge_all())
        with door.expect(2):
            assert (await done(one(eager(User.tags)))).tags == []


async def test_policy_of_the_repository(door: Door) -> None:
    await door.seed(*people())

    class Users(door.base[User]):  # type: ignore[name-defined, misc]
        policy = hybrid(eager=[User.orders])

    with door.expect(2):
        found = await done(Users(door.session).list())
    with door.expect(0):
        assert await door.run(lambda session: [len(user.orders) for user in found]) == [2, 2, 2]
    await door.run(lambda session: session.expunge_all())
    with door.expect(2):
        await done(Users(door.session).get(1))
    await door.run(lambda session: session.expunge_all())
    with door.expect(1):
        await done(door.repository(User, policy=eager()).list())


async def test_policy_by_name(door: Door) -> None:
    await door.seed(*people())
    door.session.info.update(Policies(named={"page": eager(User.orders)}).info())
    users = door.repository(User)
    with door.expect(2):
        await done(users.list(policy="page"))
    with door.expect(0), pytest.raises(UsageError, match="pag"):
        await done(users.list(policy="pag"))


async def test_the_statements_own_options_win(door: Door) -> None:
    await door.seed(*people())
    users = door.repository(User)
    with door.expect(2):
        found = await done(users.list(select(User).options(selectinload(User.orders)), policy=eager(User.orders)))
    assert [len(user.orders) for user in found] == [2, 2, 2]


async def test_load_sends_its_own_statements_only(door: Door) -> None:
    await door.seed(*people())
    users = door.repository(User)
    with using_policy(hybrid(eager=[User.tags], otherwise=batched())):
        found = await done(users.list(policy=batched()))
        with door.expect(1):
            await done(users.load(found, User.orders))
        with door.expect(1):
            assert await door.run(touch(found)) == [1] * 6


async def test_explain_counts_the_statements_of_the_policy(door: Door) -> None:
    await door.seed(*people())
    users = door.repository(User)
    explained = await done(users.explain(User.active, policy=eager(User.orders, Order.items)))
    assert explained.count == 3
    assert [each.plan != "" for each in explained.statements] == [True] * 3
    assert "items" in explained.statements[2].sql
    assert str(explained).startswith("3 statements\n\n[1] SELECT users.id")
    with using_policy(eager(User.tags)):
        assert (await done(users.explain(User.id < 0))).count == 1
        assert (await done(users.explain())).count == 2
