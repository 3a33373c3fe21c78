from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select, true
from sqlalchemy.orm import Session

from dal.errors import NotFound, UnsupportedError
from tests.repository.conftest import Door, done, drain
from tests.repository.models import KINDS, Kind

pytestmark = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


async def test_get(door: Door, kind: Kind) -> None:
    await door.seed(*map(kind.make, range(1, 6)))
    things = door.repository(kind.cls)
    with door.expect(1):
        assert (await done(things.get(kind.key(3)))).name == "n3"
    held = await done(things.get(kind.key(3)))
    with door.expect(0):
        assert await done(things.get(kind.key(3))) is held
    assert await done(things.get(kind.key(99))) is None


async def test_get_many_in_the_order_asked(door: Door, kind: Kind) -> None:
    await door.seed(*map(kind.make, range(1, 6)))
    things = door.repository(kind.cls)
    with door.expect(1):
        found = await done(things.get_many([kind.key(i) for i in (4, 2, 2, 99, 1)] + [None]))
    assert [each and each.name for each in found] == ["n4", "n2", "n2", None, "n1", None]
    with door.expect(0):
        assert await done(things.get_many([])) == []


async def test_read(door: Door, kind: Kind) -> None:
    await door.seed(*map(kind.make, range(1, 6)))
    things, cls = door.repository(kind.cls), kind.cls
    assert (await done(things.one(cls.name == "n2"))).name == "n2"
    with pytest.raises(NotFound):
        await done(things.one(cls.name == "none"))
    assert (await done(things.first(order_by=cls.number.desc()))).name == "n5"
    rows = await done(things.list(cls.number > 1, order_by=cls.number, limit=2, offset=1))
    assert [each.name for each in rows] == ["n3", "n4"]
    assert [each.name for each in await done(things.list(select(cls).where(cls.number == 2)))] == ["n2"]
    assert await done(things.count()) == 5
    assert await done(things.count(cls.number > 2)) == 3
    assert await done(things.count(select(cls).limit(2))) == 2
    assert await done(things.exists(cls.number == 5))
    assert not await done(things.exists(cls.number == 6))
    assert [each.name for each in await drain(things.stream(cls.number < 4, order_by=cls.number, batch=2))] == [
        "n1",
        "n2",
        "n3",
    ]


async def test_add(door: Door, kind: Kind) -> None:
    things = door.repository(kind.cls)
    one = kind.make(1)
    assert await done(things.add(one)) is one
    assert len(await done(things.add_all(map(kind.make, (2, 3))))) == 2
    assert await done(things.count()) == 3


async def test_update_follows_in_the_session(door: Door, kind: Kind) -> None:
    await door.seed(*map(kind.make, range(1, 6)))
    things, cls = door.repository(kind.cls), kind.cls
    held = await done(things.list(order_by=cls.number))
    changed = cls.note if hasattr(cls, "note") else cls.name
    assert await done(things.update(cls.number > 3, cls.number < 6, values={changed: "new"})) == 2

    def read(session: Any) -> list[str]:
        return [getattr(each, changed.key) for each in held]

    assert (await door.run(read))[3:] == ["new", "new"]
    assert await done(things.count(changed == "new")) == 2
    assert await done(things.update(true(), values={changed: func.upper(changed)})) == 5
    assert await done(things.count(changed == "NEW")) == 2


async def test_delete_leaves_nothing_behind(door: Door, kind: Kind) -> None:
    await door.seed(*map(kind.make, range(1, 6)))
    things, cls = door.repository(kind.cls), kind.cls
    held = await done(things.list(order_by=cls.number))
    assert await done(things.delete(cls.number > 3)) == 2
    assert await done(things.count()) == 3
    assert await door.run(lambda session: held[4] in session) is False
    for table in cls.__mapper__.tables:
        assert await door.run(counting(table)) == 3
    assert await done(things.delete(true())) == 3


async def test_upsert(door: Door, kind: Kind) -> None:
    await door.seed(kind.make(1))
    things, cls = door.repository(kind.cls), kind.cls
    key = list(cls.__mapper__.primary_key)
    attributes = [cls.__mapper__.get_property_by_column(column).class_attribute for column in key]
    if len(cls.__mapper__.tables) > 1:
        with pytest.raises(UnsupportedError), door.expect(0):
            await done(things.upsert(kind.make(1), key=attributes))
        return
    held = await done(things.get(kind.key(1)))
    proposed = kind.make(1)
    changed = "note" if hasattr(cls, "note") else "name"
    setattr(proposed, changed, "other")
    with door.expect(1):
        stored = await done(things.upsert(proposed, key=attributes))
    assert stored is held
    assert getattr(stored, changed) == "other"
    assert (await done(things.upsert(kind.make(2), key=attributes))).name == "n2"
    assert await done(things.count()) == 2


async def test_load_what_was_deferred(door: Door, kind: Kind) -> None:
    await door.seed(*map(kind.make, range(1, 6)))
    things, cls = door.repository(kind.cls), kind.cls
    found = await done(things.list())
    await door.run(lambda session: expire(session, found[:3]))
    changed = cls.name
    if cls.__name__ == "Line":
        return
    with door.expect(1):
        await done(things.load(found, changed))
    assert sorted(each.name for each in found) == ["n1", "n2", "n3", "n4", "n5"]
    with door.expect(0):
        await done(things.load(found, changed))


async def test_explain(door: Door, kind: Kind) -> None:
    await door.seed(*map(kind.make, range(1, 6)))
    things, cls = door.repository(kind.cls), kind.cls
    explained = await done(things.explain(cls.number > 1, limit=2))
    assert explained.count == 1
    assert explained.statements[0].plan
    assert await door.run(lambda session: len(session.identity_map)) == 0


def counting(table: Any) -> Any:
    return lambda session: session.scalar(select(func.count()).select_from(table))


def expire(session: Session, objects: list[Any]) -> None:
    for each in objects:
        session.expire(each, ["name"])
