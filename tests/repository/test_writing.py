from __future__ import annotations

import datetime as dt

from sqlalchemy import func, select, true
from sqlalchemy.orm import Session

from tests.repository.conftest import Door, done
from tests.repository.models import Document, Employee, Engineer, Order, Truck, User, Vehicle


async def test_never_commits(door: Door) -> None:
    await door.seed(User(email="a"))
    users = door.repository(User)
    await done(users.add(User(email="b")))
    await done(users.update(true(), values={User.plan: "x"}))
    await done(users.upsert(User(email="c"), key=[User.email]))
    await done(users.delete(User.email == "a"))
    await door.run(lambda session: session.rollback())
    assert [(user.email, user.plan) for user in await done(users.list())] == [("a", "free")]


async def test_update_is_one_statement_with_expressions(door: Door) -> None:
    await door.seed(*(User(email=f"u{n}", age=n) for n in range(4)))
    users = door.repository(User)
    held = await done(users.one(User.age == 3))
    with door.expect(1):
        assert await done(users.update(User.age > 1, values={User.age: User.age + 10, User.plan: "old"})) == 2
    assert await door.run(lambda session: (held.age, held.plan)) == (13, "old")
    assert await done(users.update(User.age > 1, values={User.__table__.c.plan: "column"})) == 2
    assert await done(users.update(User.age > 99, values={User.plan: "x"})) == 0


async def test_update_writes_through_a_joined_hierarchy(door: Door) -> None:
    await door.seed(*(Engineer(name=f"e{n}", number=n) for n in range(3)), Employee(name="b"))
    engineers, employees = door.repository(Engineer), door.repository(Employee)
    held = await done(engineers.one(Engineer.number == 1))
    assert await done(engineers.update(Engineer.number > 0, values={Engineer.name: "new", Engineer.number: 7})) == 2
    assert await door.run(lambda session: (held.name, held.number)) == ("new", 7)
    assert sorted([each.name for each in await done(employees.list())]) == ["b", "e0", "new", "new"]
    assert await done(employees.update(Employee.name == "new", values={Employee.name: "old"})) == 2
    assert await done(engineers.update(Engineer.number == 99, values={Engineer.name: "x", Engineer.number: 1})) == 0


async def test_delete_of_a_base_reaches_the_tables_below(door: Door) -> None:
    await door.seed(*(Engineer(name=f"e{n}", number=n) for n in range(3)), Employee(name="b"))
    employees = door.repository(Employee)
    assert await done(employees.delete(Employee.name.in_(["b", "e1"]))) == 2
    left = await door.run(lambda session: session.execute(select(Engineer.__table__.c.number)).scalars().all())
    assert sorted(left) == [0, 2]
    assert await done(employees.delete(true())) == 2


async def test_single_table_inheritance_touches_its_own_rows(door: Door) -> None:
    await door.seed(Vehicle(name="v"), Truck(name="t", number=1))
    trucks, vehicles = door.repository(Truck), door.repository(Vehicle)
    assert await done(trucks.update(true(), values={Truck.name: "T"})) == 1
    assert await done(trucks.count()) == 1
    assert await done(trucks.delete(true())) == 1
    assert [each.name for each in await done(vehicles.list())] == ["v"]


async def test_upsert_keeps_what_was_not_set(door: Door) -> None:
    await door.seed(User(email="a", name="Ada", plan="gold", age=36))
    users = door.repository(User)
    with door.expect(1):
        stored = await done(users.upsert(User(email="a", age=37), key=[User.email]))
    assert (stored.name, stored.plan, stored.age) == ("Ada", "gold", 37)
    assert stored.updated_at == dt.datetime(2026, 1, 1)
    new = await done(users.upsert(User(email="b", name=func.upper("bob")), key=[User.email]))
    assert (new.name, new.plan, new.updated_at) == ("BOB", "free", None)
    assert new in await door.run(lambda session: list(session))


async def test_upsert_twice_changes_nothing(door: Door) -> None:
    users = door.repository(User)
    first = await done(users.upsert(User(email="a"), key=[User.email]))
    assert await done(users.upsert(User(email="a"), key=[User.email])) is first
    assert await done(users.count()) == 1


async def test_upsert_writes_over_pending_changes_in_order(door: Door) -> None:
    await door.seed(User(email="a", age=1))
    users = door.repository(User)
    held = await done(users.one())
    held.age = 2
    held.name = "kept"
    stored = await done(users.upsert(User(email="a", age=3), key=[User.email]))
    assert stored is held
    assert (stored.age, stored.name) == (3, "kept")


async def test_delete_follows_the_databases_cascades(door: Door) -> None:
    await door.seed(User(email="a", orders=[]), User(email="b", orders=[Order(total=1)]))
    users = door.repository(User)

    def other(session: Session) -> int:
        return session.scalar(select(func.count()).select_from(User)) or 0

    assert await done(users.delete(User.email == "a")) == 1
    assert await door.run(other) == 1


async def test_upsert_counts_a_version(door: Door) -> None:
    documents = door.repository(Document)
    first = await done(documents.upsert(Document(id=1, title="a"), key=[Document.id]))
    assert (first.title, first.version) == ("a", 1)
    again = await done(documents.upsert(Document(id=1, title="b"), key=[Document.id]))
    assert (again.title, again.version) == ("b", 2)
    again.title = "c"
    await done(door.session.commit())
    assert (await done(documents.get(1))).version == 3
