from __future__ import annotations

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import aliased, joinedload, lazyload, selectinload

from dal.errors import MultipleFound, NotFound
from tests.repository.conftest import SQLITE, Door, done, drain
from tests.repository.models import Line, Order, Plain, Tag, User, user_tag


def people() -> list[User]:
    return [
        User(id=number, email=f"u{number}", active=number % 2 == 0, orders=[Order(total=number * 10), Order(total=1)])
        for number in range(1, 7)
    ]


async def test_get_refreshes_nothing_it_holds(door: Door) -> None:
    await door.seed(*people())
    users = door.repository(User)
    held = await done(users.get(3))
    with door.expect(0):
        assert await done(users.get({"id": 3})) is held
        assert await done(users.get((3,))) is held
        assert await done(users.get(3, policy=None)) is held
        assert await done(users.get(None)) is None


async def test_get_composite_by_name(door: Door) -> None:
    await door.seed(Line(number=1, name="a"), Line(number=2, name="b"))
    lines = door.repository(Line)
    assert (await done(lines.get({"name": "b", "number": 2}))).number == 2
    with door.expect(1):
        assert [
            line and line.name for line in await done(lines.get_many([(2, "b"), {"number": 1, "name": "a"}, (1, None)]))
        ] == [
            "b",
            "a",
            None,
        ]


@SQLITE
async def test_get_many_keys_of_another_type(door: Door) -> None:
    await door.seed(*people())
    users = door.repository(User)
    with door.expect(3):
        found = await done(users.get_many(["2", 3, "77"]))
    assert [user and user.id for user in found] == [2, 3, None]


async def test_get_many_more_than_one_statement_carries(door: Door) -> None:
    await door.seed(*(Plain(id=number, name="p", number=number) for number in (1, 29_999, 30_000, 30_999)))
    plains = door.repository(Plain)
    with door.expect(2):
        found = await done(plains.get_many(range(31_000)))
    assert [each.id for each in found if each] == [1, 29_999, 30_000, 30_999]
    assert [at for at, each in enumerate(found) if each] == [1, 29_999, 30_000, 30_999]


async def test_one(door: Door) -> None:
    await door.seed(*people())
    users = door.repository(User)
    with pytest.raises(NotFound, match=r"no User where users\.email"):
        await done(users.one(User.email == "secret"))
    with pytest.raises(MultipleFound) as raised:
        await done(users.one(User.active))
    assert "secret" not in str(raised.value)
    with pytest.raises(MultipleFound):
        await done(users.one(select(User)))


async def test_select_goes_in_as_it_is(door: Door) -> None:
    await door.seed(*people())
    users = door.repository(User)
    other, line = aliased(User), aliased(Order)
    for statement, ids in {
        select(User).join(User.orders).where(Order.total > 40): [5, 6],
        select(User).join(Order).where(Order.total > 40): [5, 6],
        select(User).join(Order, Order.user_id == User.id).where(Order.total > 40): [5, 6],
        select(User).join(line, User.orders).where(line.total > 40): [5, 6],
        select(User).join(User.orders.of_type(line)).where(line.total > 40): [5, 6],
        select(User).select_from(Order).join(Order.user).where(Order.total > 40): [5, 6],
        select(User).outerjoin(User.orders).where(Order.total > 40): [5, 6],
        select(User).where(User.id == Order.user_id, Order.total > 40): [5, 6],
        select(other).where(other.id > 4): [5, 6],
        select(User).where(User.id.in_(select(Order.user_id).where(Order.total > 40))): [5, 6],
        select(User).order_by(User.id).limit(2): [1, 2],
    }.items():
        with door.expect(1):
            assert sorted(user.id for user in await done(users.list(statement))) == ids
        assert await done(users.count(statement)) == 2
        assert await done(users.exists(statement))
    joined = select(User).join(User.orders)
    assert [user.id for user in await done(users.list(joined, Order.total > 40, User.active, order_by=Order.total))] == [6]


async def test_filters_that_bring_their_own_tables(door: Door) -> None:
    tag = Tag(label="t")
    await door.seed(*people(), User(id=100, email="x", tags=[tag]))
    users = door.repository(User)
    held = await done(door.repository(Tag).one())
    counted = select(func.count(Order.id)).where(Order.user_id == User.id).scalar_subquery()
    assert await done(users.count(User.orders.any(Order.total > 40))) == 2
    assert await done(users.count(counted == 2)) == 6
    assert await done(users.count(User.order_count == 0)) == 1
    assert await done(users.count(select(Order).where(Order.user_id == User.id, Order.total > 40).exists())) == 2
    assert await done(users.count(User.tags.contains(held))) == 1
    assert await done(users.count(~User.tags.contains(held))) == 6
    assert await done(users.count(User.id.in_(select(user_tag.c.user_id)))) == 1
    assert await done(users.count(func.lower(User.email) == "x")) == 1
    orders = door.repository(Order)
    assert await done(orders.count(Order.user.has(User.active))) == 6


async def test_eager_options(door: Door) -> None:
    await door.seed(*people())
    users = door.repository(User)
    with door.expect(1):
        rows = await done(users.list(select(User).options(joinedload(User.orders)), limit=3, order_by=User.id))
    assert [(user.id, len(user.orders)) for user in rows] == [(1, 2), (2, 2), (3, 2)]
    await door.run(lambda session: session.expunge_all())
    with door.expect(2):
        rows = await done(users.list(select(User).options(selectinload(User.orders))))
    assert {len(user.orders) for user in rows} == {2}
    assert (await done(users.one(select(User).options(joinedload(User.orders)).where(User.id == 1)))).id == 1
    assert (await done(users.first(select(User).options(joinedload(User.orders)), order_by=User.id))).id == 1


async def test_a_read_sees_what_the_session_has_yet_to_write(door: Door) -> None:
    users = door.repository(User)
    await done(users.add(User(email="new")))
    assert await done(users.exists(User.email == "new"))
    await door.run(lambda session: session.rollback())
    assert not await done(users.exists(User.email == "new"))


async def test_stream(door: Door) -> None:
    await door.seed(*people())
    users = door.repository(User)
    statement = select(User).options(selectinload(User.orders), lazyload(User.tags))
    with door.expect(4):
        rows = await drain(users.stream(statement, order_by=User.id, batch=2))
    assert [(user.id, len(user.orders)) for user in rows] == [(number, 2) for number in range(1, 7)]


async def test_stream_can_be_left(door: Door) -> None:
    await door.seed(*people())
    users = door.repository(User)
    stream = users.stream(batch=1)
    if hasattr(stream, "__anext__"):
        assert await anext(stream)
        await stream.aclose()
    else:
        assert next(stream)
        stream.close()
    assert await done(users.count()) == 6
