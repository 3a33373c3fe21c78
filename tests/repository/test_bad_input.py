from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import exc, func, select, text, true
from sqlalchemy.orm import aliased, registry

from dal import Database
from dal.errors import UnsupportedError, UsageError
from tests.repository.conftest import SQLITE, Door, done
from tests.repository.models import Engineer, Order, Summary, Tag, User, user_tag

pytestmark = SQLITE  # nothing here reaches a database


async def refused(door: Door, call: Any, match: str | None = None) -> UsageError:
    """Expect a UsageError with a hint, before any statement."""
    with door.expect(0), pytest.raises(UsageError, match=match) as raised:
        await done(call())
    assert raised.value.hint
    assert isinstance(raised.value, exc.InvalidRequestError)
    return raised.value


@pytest.mark.parametrize(
    "criterion",
    [
        Order.total > 1,
        User.id == Order.user_id,
        user_tag.c.tag_id == 1,
        User.orders,
        aliased(User).active,
        func.lower(Tag.label) == "x",
        (User.active) & (Order.total > 1),
        select(User).where(Order.total > 1),
        select(aliased(User)).where(User.active),
        select(User).join(User.tags).where(Order.total > 1),
        select(User).join(User.tags).where(user_tag.c.tag_id == 1),
    ],
    ids=str,
)
async def test_filter_on_a_table_that_is_not_there(door: Door, criterion: Any) -> None:
    users = door.repository(User)
    for read in (users.list, users.one, users.first, users.count, users.exists, users.explain):
        await refused(door, lambda read=read: read(criterion), "does not contain")
    await refused(door, lambda: users.stream(criterion), "does not contain")
    if not hasattr(criterion, "join"):
        await refused(door, lambda: users.delete(criterion), "does not contain")
        await refused(door, lambda: users.update(criterion, values={User.plan: "x"}), "does not contain")


@pytest.mark.parametrize(
    "criterion",
    [True, False, None, "active", 1, User, User.__table__, lambda: User.active, object()],
    ids=lambda given: type(given).__name__,
)
async def test_not_a_filter(door: Door, criterion: Any) -> None:
    users = door.repository(User)
    for read in (users.list, users.one, users.first, users.count, users.exists, users.delete):
        await refused(door, lambda read=read: read(criterion), "not a filter")


@pytest.mark.parametrize(
    "statement",
    [
        select(Order),
        select(User.id),
        select(User, Order),
        select(func.count(User.id)),
        select(User.__table__),
        select(text("1")),
    ],
    ids=str,
)
async def test_select_of_something_else(door: Door, statement: Any) -> None:
    users = door.repository(User)
    await refused(door, lambda: users.list(statement), "returns User objects")
    await refused(door, lambda: users.count(statement), "returns User objects")


async def test_select_in_the_wrong_place(door: Door) -> None:
    users = door.repository(User)
    await refused(door, lambda: users.list(User.active, select(User)), "not a filter")
    await refused(door, lambda: users.delete(select(User)), "takes filters")


async def test_column_of_a_subclass_that_is_not_joined(door: Door) -> None:
    from tests.repository.models import Employee

    await refused(door, lambda: door.repository(Employee).list(Engineer.number > 1), "engineers")


async def test_bounds_and_names(door: Door) -> None:
    users = door.repository(User)
    for bound in (-1, 1.5, "3", True):
        await refused(door, lambda bound=bound: users.list(limit=bound), "limit is")
        await refused(door, lambda bound=bound: users.list(offset=bound), "offset is")
    for batch in (0, -1, None):
        await refused(door, lambda batch=batch: users.stream(batch=batch), "batch is")
    await refused(door, lambda: users.list(order_by="name"), "order_by takes")
    await refused(door, lambda: users.list(order_by=[User.name, "name"]), "order_by takes")
    await refused(door, lambda: users.list(order_by=Order.total), "does not contain")
    await refused(door, lambda: users.list(lock="exclusive"), "no lock named 'exclusive'")


async def test_keys(door: Door) -> None:
    users = door.repository(User)
    for ident in ((1, 2), {"email": "x"}, {}, ()):
        await refused(door, lambda ident=ident: users.get(ident), "is not a primary key of User")
        await refused(door, lambda ident=ident: users.get_many([1, ident]), "is not a primary key of User")


async def test_one_key_where_a_list_is_wanted(door: Door) -> None:
    users = door.repository(User)
    for idents in (7, "abc", None, {"id": 7}):
        await refused(door, lambda idents=idents: users.get_many(idents), "list of primary keys")


async def test_writes(door: Door) -> None:
    users = door.repository(User)
    await refused(door, lambda: users.delete(), "without a filter")
    await refused(door, lambda: users.update(values={User.plan: "x"}), "without a filter")
    await refused(door, lambda: users.update(true(), values={}), "no values")
    await refused(door, lambda: users.update(true(), values={"plan": "x"}), "not an attribute")
    await refused(door, lambda: users.update(true(), values={Order.total: 1}), r"Order\.total")
    await refused(door, lambda: users.update(true(), values={User.orders: []}), "no column")
    await refused(door, lambda: users.update(true(), values={User.order_count: 1}), "no column")
    await refused(door, lambda: users.update(true(), values={User.shout: "A"}), "no column")
    await refused(door, lambda: users.update(true(), values={Order.__table__.c.total: 1}), "not an attribute")
    await refused(door, lambda: users.update(true(), values={func.lower(User.plan): 1}), "not an attribute")
    await refused(door, lambda: users.add(Order(total=1)), "cannot take an object of the class Order")
    await refused(door, lambda: users.add_all([User(email="a"), None]), "cannot take an object of the class NoneType")
    await refused(door, lambda: users.add_all(User(email="a")), "list of objects, not one")
    await refused(door, lambda: users.update(true(), values=[(User.plan, "x")]), "values is a list, not a dict")
    assert not await door.run(lambda session: list(session.new))


async def test_writing_what_is_read_from_a_query(door: Door) -> None:
    summaries = door.repository(Summary)
    for call in (
        lambda: summaries.update(Summary.total > 1, values={Summary.total: 1}),
        lambda: summaries.delete(Summary.total > 1),
    ):
        assert isinstance(await refused(door, call, "read from a query, not from a table"), UnsupportedError)


async def test_writing_what_is_mapped_to_a_join(door: Door) -> None:
    mapping, users, orders = registry(), User.__table__, Order.__table__
    bought = type("Bought", (), {})
    properties = {"id": [orders.c.id], "user_id": [users.c.id, orders.c.user_id]}
    mapping.map_imperatively(bought, users.join(orders), properties=properties, primary_key=[orders.c.id])
    lines: Any = door.repository(bought)
    for call in (lambda: lines.update(bought.id == 1, values={bought.total: 1}), lambda: lines.delete(bought.id == 1)):  # type: ignore[attr-defined]
        assert isinstance(await refused(door, call, "read from a join, not from a table"), UnsupportedError)
    mapping.dispose()


async def test_upserts(door: Door) -> None:
    users = door.repository(User)
    for key in ([], ["email"], [Order.id], [User.orders], [func.lower(User.email)]):
        await refused(door, lambda key=key: users.upsert(User(email="a"), key=key))
    for alone in (User.email, "email"):
        await refused(door, lambda alone=alone: users.upsert(User(email="a"), key=alone), "not a list of attributes")
    await refused(door, lambda: users.upsert(User(email="a", orders=[Order(total=1)]), key=[User.email]), "would lose")
    await refused(door, lambda: users.upsert(Order(total=1), key=[User.email]), "cannot take")
    pending = User(email="a")
    await done(users.add(pending))
    await refused(door, lambda: users.upsert(pending, key=[User.email]), "takes a new User")


async def test_unmapped_classes(door: Door) -> None:
    for cls in (int, "User", None, User(), user_tag, aliased(User)):
        await refused(door, lambda cls=cls: door.repository(cls))


async def test_something_else_than_a_session(door: Door) -> None:
    with Database("sqlite://") as db:
        for given in (None, db, db.engine, db.sessions, User, db.session):
            with pytest.raises(UsageError, match=f"takes the application's {type(door.session).__name__}, not") as raised:
                door.base(given, User)
            assert "with db.session() as session" in raised.value.hint


async def test_lock_without_row_locks(door: Door) -> None:
    users = door.repository(User)
    error = await refused(door, lambda: users.one(User.id == 1, lock="update"), "no row locks")
    assert isinstance(error, UnsupportedError)
    await refused(door, lambda: users.get(1, lock="share"), "no row locks")
