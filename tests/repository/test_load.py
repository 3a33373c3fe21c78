from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import event, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, raiseload, with_loader_criteria
from sqlalchemy.pool import NullPool

from dal.asyncio import AsyncRepository
from dal.errors import UsageError
from tests.repository.conftest import POSTGRESQL, Door, done
from tests.repository.models import Category, Employee, Engineer, Item, Order, Summary, Tag, Tool, User

PATHS = (User.orders, Order.items)


def shop(users: int = 5) -> list[User]:
    tags = [Tag(label="a"), Tag(label="b")]
    return [
        User(
            email=f"u{number}@example.org",
            bio=f"bio {number}",
            tags=tags,
            orders=[Order(total=total, items={"x": Item(name="x"), "y": Item(name="y")}) for total in (5, number + 10)],
        )
        for number in range(users)
    ]


def loaded(session: Session, found: list[User]) -> Any:
    return [(user.bio, [(order.total, sorted(order.items)) for order in user.orders]) for user in found]


@pytest.mark.parametrize("users", [1, 5, 11])
async def test_one_statement_a_step_whatever_the_number(door: Door, users: int) -> None:
    await door.seed(*shop(users))
    repository = door.repository(User)
    found = await done(repository.list(order_by=User.id))
    with door.expect(4):
        await done(repository.load(found, User.orders, Order.items, User.bio, User.tags, Order.user))
    with door.expect(0):
        values = await door.run(lambda session: loaded(session, found))
        assert [len(user.tags) for user in found] == [2] * users
        assert all(order.user is user for user in found for order in user.orders)
    # The mapping's own order_by holds.
    assert values[-1] == (f"bio {users - 1}", [(users + 9, ["x", "y"]), (5, ["x", "y"])])


async def test_only_for_those_that_miss_it(door: Door) -> None:
    await door.seed(*shop())
    repository = door.repository(User)
    found = await done(repository.list(order_by=User.id))
    await done(repository.load(found[:2], User.orders))
    with door.expect(1):
        await done(repository.load(found, User.orders))
    keys = await door.run(lambda session: {user.id for user in found[:2]})
    assert door.sent[0].count("?" if door.dialect == "sqlite" else "%(") == len(found) - len(keys)
    with door.expect(0):
        await done(repository.load(found, User.orders))
        await done(repository.load([], User.orders))


async def test_many_objects_are_cut_into_parts_of_500(door: Door) -> None:
    await door.seed(*(User(email=f"{number}@example.org") for number in range(1001)))
    repository = door.repository(User)
    found = await done(repository.list())
    with door.expect(3):
        await done(repository.load(found, User.tags))


async def test_what_the_object_holds_stays(door: Door) -> None:
    await door.seed(*shop(2))
    repository = door.repository(User)
    first, second = await done(repository.list(order_by=User.id))
    first.name = "changed"

    def without_flush(session: Session) -> None:
        with session.no_autoflush:
            door.base
            from dal.repository import Repository

            Repository(session, User).load([first, second], User.orders, User.bio)

    await door.run(without_flush)
    assert first.name == "changed"
    assert inspect(first).attrs.name.history.has_changes()


async def test_expired_objects(door: Door) -> None:
    await door.seed(*shop())
    repository = door.repository(User)
    found = await done(repository.list(order_by=User.id))
    await door.run(lambda session: session.expire_all())
    with door.expect(1):
        await done(repository.load(found, User.orders))
    with door.expect(0):
        assert [len(user.orders) for user in found] == [2] * 5


async def test_references_in_the_session_cost_nothing(door: Door) -> None:
    await door.seed(*shop())
    users, orders = door.repository(User), door.repository(Order)
    held = await done(users.list())
    found = await done(orders.list())
    await door.run(lambda session: session.add(Order(total=1)))
    lonely = await done(orders.one(Order.total == 1))
    with door.expect(0):
        await done(orders.load([*found, lonely], Order.user))
    assert {order.user for order in found} == set(held)
    assert lonely.user is None


async def test_references_are_asked_for_once_each(door: Door) -> None:
    await door.seed(*shop())
    orders = door.repository(Order)
    found = await done(orders.list())
    with door.expect(1):
        await done(orders.load(found, Order.user))
    assert door.sent[0].count("?" if door.dialect == "sqlite" else "%(") == 5
    assert {order.user.email for order in found} == {f"u{number}@example.org" for number in range(5)}


async def test_self_referential(door: Door) -> None:
    await door.seed(Category(name="top", children=[Category(name=name, children=[Category(name=f"{name}1")]) for name in "ba"]))
    categories = door.repository(Category)
    found = await done(categories.list(Category.parent_id.is_(None)))
    with door.expect(2):
        await done(categories.load(found, (Category.children, Category.children)))
    assert [[low.name for low in child.children] for child in found[0].children] == [["a1"], ["b1"]]
    with door.expect(1):
        await done(categories.load(found, Category.children, Category.children, Category.children))


async def test_attribute_of_a_subclass(door: Door) -> None:
    await door.seed(Engineer(name="e", number=1, tools=[Tool(), Tool()]), Employee(name="b"))
    employees = door.repository(Employee)
    found = await done(employees.list(order_by=Employee.name))
    with door.expect(1):
        await done(employees.load(found, Engineer.tools))
    assert len(found[1].tools) == 2


async def test_raiseload_is_filled(door: Door) -> None:
    await door.seed(*shop(2))
    repository = door.repository(User)
    found = await done(repository.list(select(User).options(raiseload("*"))))
    await done(repository.load(found, User.orders))
    assert len(found[0].orders) == 2


async def test_criteria_of_the_session_hold(door: Door) -> None:
    await door.seed(*shop(2))
    repository = door.repository(User)
    found = await done(repository.list())

    def narrow(state: Any) -> None:
        if state.is_select:
            state.statement = state.statement.options(with_loader_criteria(Order, Order.total > 9))

    def listen(session: Session) -> None:
        event.listen(session, "do_orm_execute", narrow)

    await door.run(listen)
    await done(repository.load(found, User.orders))
    assert [len(user.orders) for user in found] == [1, 1]


async def test_narrowed_relationship(door: Door) -> None:
    await door.seed(*shop(2))
    repository = door.repository(User)
    found = await done(repository.list())
    await done(repository.load(found, User.orders.and_(Order.total < 6)))
    assert [[order.total for order in user.orders] for user in found] == [[5], [5]]


async def test_refused_before_any_statement(door: Door) -> None:
    await door.seed(*shop(1))
    repository = door.repository(User)
    found = await done(repository.list())
    strangers = {
        "transient": User(),
        "detached": await door.run(lambda session: detached(session)),
    }
    with door.expect(0):
        for paths in (
            (Order.items,),
            (User.orders, Item.order),
            ("orders",),
            (User.active == 1,),
            (),
            (Order.items, User.orders),
        ):
            with pytest.raises(UsageError):
                await done(repository.load(found, *paths))
        for word, stranger in strangers.items():
            with pytest.raises(UsageError, match=word):
                await done(repository.load([stranger], User.orders))
        for objects in (found[0], [Order()], [None]):
            with pytest.raises(UsageError):
                await done(repository.load(objects, User.orders))


def detached(session: Session) -> User:
    user = User(email="z", id=99)
    from sqlalchemy.orm import make_transient_to_detached

    make_transient_to_detached(user)
    return user


async def test_mapped_to_a_subquery(door: Door) -> None:
    await door.seed(*shop(3))
    summaries = door.repository(Summary)
    assert [each.total for each in await done(summaries.list(order_by=Summary.user_id))] == [15, 16, 17]
    assert await done(summaries.count(Summary.total > 15)) == 2


@POSTGRESQL
async def test_two_tasks_on_one_session_are_told(url: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    async with AsyncSession(engine) as session:
        await session.connection()
        users = AsyncRepository(session, User)
        results = await asyncio.gather(users.list(), users.count(), return_exceptions=True)
        assert isinstance(results[0], list)
        assert "two tasks use one AsyncSession" in str(results[1])
        assert await users.count() == len(results[0])
    await engine.dispose()
