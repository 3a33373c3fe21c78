"""A policy as a value and an ORM option: the statement cache, pickling, Query, and what it leaves alone."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from sqlalchemy import Engine, event, inspect, select
from sqlalchemy.orm import Session, aliased, selectinload
from sqlalchemy.orm.strategy_options import Load

from dal import Policy, batched, eager, hybrid, lazy, strict
from dal.errors import NotLoaded
from tests.loading.counting import expect
from tests.loading.models import Category, Item, Order, User

POLICIES: dict[str, tuple[Policy, int]] = {
    "lazy": (lazy(), 6),
    "batched": (batched(), 1),
    "eager": (eager(User.orders), 0),
    "joined": (eager(User.orders, using="joined"), 0),
    "hybrid": (hybrid(eager=[User.orders]), 0),
    "other path": (hybrid(eager=[User.tags]), 1),
    "none": (eager(), 6),
}


def test_statements_of_one_shape_with_different_policies(session: Session) -> None:
    """The statement cache keeps them apart: each does its own, whatever ran before."""
    for _ in range(2):
        for policy, later in POLICIES.values():
            session.expunge_all()
            users = session.scalars(select(User).order_by(User.id).options(policy)).unique().all()
            with expect(session, later):
                assert [len(user.orders) for user in users] == [1, 2, 3, 0, 1, 2]
        session.expunge_all()
        strictly = session.scalars(select(User).order_by(User.id).options(strict())).all()
        with pytest.raises(NotLoaded):
            strictly[0].orders
        session.expunge_all()
        plain = session.scalars(select(User).order_by(User.id)).all()
        with expect(session, 6):
            [user.orders for user in plain]


def test_beside_options_of_sqlalchemy(session: Session) -> None:
    """A policy is not lost behind options that were compiled without it."""
    for policy in (None, batched(), strict(), lazy(), batched()):
        session.expunge_all()
        statement = select(User).order_by(User.id).options(selectinload(User.tags))
        users = session.scalars(statement if policy is None else statement.options(policy)).all()
        if policy is not None and repr(policy) == "strict()":
            with pytest.raises(NotLoaded):
                users[0].orders
            continue
        with expect(session, 1 if policy is not None and repr(policy) == "batched()" else 6):
            [user.orders for user in users]
        with expect(session, 0):
            [user.tags for user in users]


def test_one_statement_is_compiled_once(shop_engine: Engine) -> None:
    engine = shop_engine.execution_options(compiled_cache={})
    compiled = []
    event.listen(engine, "before_cursor_execute", lambda *given: compiled.append(given[4].cache_hit.name))
    for _ in range(3):
        with Session(engine) as session:
            users = session.scalars(select(User).options(hybrid(eager=[User.orders]))).all()
            [user.tags for user in users]
            [user.profile for user in users]
    assert compiled[:4].count("CACHE_MISS") == 4
    assert set(compiled[4:]) == {"CACHE_HIT"}


def test_batches_of_a_cached_statement_are_apart(session: Session) -> None:
    statement = select(User).order_by(User.id).options(batched())
    first = session.scalars(statement.where(User.id < 4)).all()
    second = session.scalars(statement.where(User.id > 3)).all()
    with expect(session, 1):
        first[0].orders
    assert "orders" not in inspect(second[0]).dict
    with expect(session, 1):
        [user.orders for user in second]


def test_query(session: Session) -> None:
    users = session.query(User).options(batched()).order_by(User.id).all()
    with expect(session, 1):
        assert [len(user.orders) for user in users] == [1, 2, 3, 0, 1, 2]
    session.expunge_all()
    with expect(session, 2):
        found = session.query(User).options(eager(User.orders)).filter(User.id == 2).one()
    assert len(found.orders) == 2
    session.expunge_all()
    first = session.query(User).options(strict()).populate_existing().order_by(User.id).limit(1).one()
    with pytest.raises(NotLoaded):
        first.orders


def test_get(session: Session) -> None:
    with expect(session, 2):
        user = session.get_one(User, 3, options=[eager(User.orders), strict()])
    assert len(user.orders) == 3
    with pytest.raises(NotLoaded):
        user.tags


@pytest.mark.parametrize(
    "policy",
    [
        lazy(),
        batched(limit=7, rows=8, ramp=(1, 2)),
        strict(columns=True, only="to_many", action="warn", allow=["User.orders"]),
        eager(User.orders, (User.orders, Order.items)),
        eager(Category.children, depth=3, using="joined"),
        hybrid(eager=[User.profile], otherwise=strict()),
    ],
)
def test_pickled(policy: Policy) -> None:
    again = pickle.loads(pickle.dumps(policy))
    assert repr(again) == repr(policy)
    assert again.paths == policy.paths
    assert repr(again.mode) == repr(policy.mode)


def test_paths_that_cannot_be_pickled_are_left_behind() -> None:
    people = aliased(User)
    policy = eager(people.orders, User.tags, User.orders.and_(Order.total > 1))
    assert repr(pickle.loads(pickle.dumps(policy))) == "eager(User.tags)"


def test_pickled_objects_stay_together(session: Session) -> None:
    users = session.scalars(select(User).order_by(User.id).options(hybrid(eager=[User.profile]))).all()
    session.expunge_all()
    again = pickle.loads(pickle.dumps(users))
    session.add_all(again)
    with expect(session, 1):
        assert [len(user.orders) for user in again] == [1, 2, 3, 0, 1, 2]
    with expect(session, 1):
        assert sum(len(order.items) for user in again for order in user.orders) == 18


def test_a_policy_among_options_of_a_load(session: Session) -> None:
    statement = select(User).order_by(User.id).options(selectinload(User.orders).selectinload(Order.items), batched())
    users = session.scalars(statement).all()
    with expect(session, 1):
        assert {item.product.name for user in users for order in user.orders for item in order.items} == {"p1", "p2"}


def test_it_is_no_loader_option_of_a_path() -> None:
    wrong: Any = batched()
    with pytest.raises(Exception, match="options"):
        Load(User).options(wrong)


def test_policies_are_shared_safely(session: Session) -> None:
    """One policy object in two statements is two batches."""
    policy = batched()
    users = session.scalars(select(User).options(policy)).all()
    items = session.scalars(select(Item).options(policy)).all()
    with expect(session, 2):
        [user.orders for user in users]
        [item.product for item in items]
