"""Batched: who belongs to a batch, and what the statement itself says about its attributes."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.orm import Session, defer, lazyload, noload, undefer_group
from sqlalchemy.pool import NullPool

from dal import batched, hybrid, strict
from tests.loading.counting import expect
from tests.loading.models import (
    Order,
    Product,
    User,
    Visit,
)


def users(session: Session, **arguments: Any) -> list[User]:
    return list(session.scalars(select(User).order_by(User.id).options(batched(**arguments))))


def test_several_results_in_one_session(session: Session) -> None:
    first = session.scalars(select(User).where(User.id < 4).order_by(User.id).options(batched())).all()
    second = session.scalars(select(User).where(User.id > 2).order_by(User.id).options(batched())).all()
    with expect(session, 1) as seen:
        second[-1].orders
    assert seen.statements[0].count("%(") == 3
    with expect(session, 1):
        # User 3 came first with the first result, and belongs to it.
        assert [len(user.orders) for user in first] == [1, 2, 3]


def test_another_policy_s_objects_are_no_peers(session: Session) -> None:
    plain = session.scalars(select(User).where(User.id < 3).order_by(User.id)).all()
    found = users(session)
    with expect(session, 1):
        found[-1].orders
    assert "orders" not in inspect(plain[0]).dict


def test_what_is_held_by_nobody_is_not_loaded(session: Session) -> None:
    found = users(session)
    kept = found[0], found[5]
    found.clear()
    gc.collect()
    with expect(session, 1) as seen:
        kept[0].orders
    assert seen.statements[0].count("%(") == 2


def test_one_alone_loads_as_sqlalchemy_would(session: Session) -> None:
    user = session.scalars(select(User).where(User.id == 3).options(batched())).one()
    with expect(session, 1) as seen:
        assert len(user.orders) == 3
    assert " IN (" not in seen.statements[0]


def test_references_in_the_session_cost_nothing(session: Session) -> None:
    held = users(session)
    orders = session.scalars(select(Order).options(batched())).all()
    with expect(session, 0):
        assert {order.user for order in orders} <= {*held, None}


def test_nothing_to_refer_to(session: Session) -> None:
    visit = session.scalars(select(Visit).where(Visit.id == 99).options(batched())).one()
    with expect(session, 0):
        assert visit.place is None


def test_yield_per_is_a_batch_a_chunk(session: Session) -> None:
    statement = select(User).order_by(User.id).options(batched()).execution_options(yield_per=2)
    with expect(session, 4):
        seen = [[len(user.orders) for user in chunk] for chunk in session.scalars(statement).partitions()]
    assert seen == [[1, 2], [3, 0], [1, 2]]


def test_defer_and_undefer_of_the_statement(session: Session) -> None:
    statement = select(User).order_by(User.id).options(defer(User.name), undefer_group("address"), batched())
    found = session.scalars(statement).all()
    with expect(session, 0):
        assert found[0].street == "s1"
    with expect(session, 1):
        assert [user.name for user in found] == [f"u{n}" for n in range(1, 7)]


def test_lazyload_with_criteria_of_the_statement(session: Session) -> None:
    statement = select(User).order_by(User.id).options(lazyload(User.orders.and_(Order.total > 600)), batched())
    assert [len(user.orders) for user in session.scalars(statement)] == [0, 0, 0, 0, 0, 2]


@pytest.mark.filterwarnings("ignore:.*noload.*")
def test_noload_of_the_statement(session: Session) -> None:
    found = session.scalars(select(User).options(noload(User.orders), batched())).all()
    with expect(session, 0):
        assert found[0].orders == []


def test_two_entities_in_a_row(session: Session) -> None:
    statement = select(User, Order).join(User.orders).order_by(Order.id).options(batched())
    rows = session.execute(statement).all()
    with expect(session, 2):
        assert sum(len(order.items) for _, order in rows) == 18
        assert {len(user.tags) for user, _ in rows} == {0, 1, 2}


def test_joined_rows_of_one_result_at_two_paths(session: Session) -> None:
    """Tags reached twice are one batch each; nothing is loaded twice."""
    found = session.scalars(select(Order).options(hybrid(eager=[Order.user]))).all()
    with expect(session, 1):
        [order.user.tags for order in found if order.user]


def test_threads_with_a_session_each(shop_url: Any) -> None:
    engine = create_engine(shop_url, poolclass=NullPool)

    def walk(_: int) -> int:
        with Session(engine) as session:
            found = session.scalars(select(User).options(batched())).all()
            return sum(len(order.items) + len(user.tags) for user in found for order in user.orders)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(walk, range(40))) == {18 + 1 + 4 + 2}
    engine.dispose()


def test_under_strict_for_another_result(session: Session) -> None:
    found = users(session)
    session.scalars(select(Product).options(strict())).all()
    with expect(session, 1):
        assert [len(user.orders) for user in found] == [1, 2, 3, 0, 1, 2]
