"""Batched: one statement for 500 parents; limits, ramps and row caps keep a touch from loading the world."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, inspect, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from dal import batched, eager, hybrid
from tests.loading.counting import expect
from tests.loading.models import (
    METADATA,
    Order,
    User,
)


@pytest.fixture(scope="module")
def crowd() -> Iterator[Engine]:
    """1,201 users with two orders each, the first three with none."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(User.__table__.insert(), [{"id": n, "name": f"u{n}"} for n in range(1, 1202)])  # type: ignore[attr-defined]
        connection.execute(
            Order.__table__.insert(),  # type: ignore[attr-defined]
            [{"user_id": n, "total": n * 10 + each} for n in range(4, 1202) for each in (0, 1)],
        )
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("parents", "statements"), [(1, 1), (2, 1), (499, 1), (500, 1), (501, 2), (1000, 2), (1001, 3), (1200, 3)]
)
@pytest.mark.parametrize("policy", [batched(), eager(User.orders), hybrid(eager=[User.orders])])
def test_one_statement_for_500_parents(crowd: Engine, parents: int, statements: int, policy: Any) -> None:
    with Session(crowd) as session, expect(session, 1 + statements):
        found = session.scalars(select(User).where(User.id > 3, User.id <= parents + 3).options(policy)).all()
        assert [len(user.orders) for user in found] == [2] * min(parents, 1198)


def test_a_deep_graph_is_one_statement_a_relationship_and_500_parents(crowd: Engine) -> None:
    with Session(crowd) as session:
        found = session.scalars(select(User).where(User.id <= 503).options(batched())).all()
        # 503 users are two chunks, their 1,000 orders two.
        with expect(session, 4):
            assert sum(len(order.items) for user in found for order in user.orders) == 0


@pytest.mark.parametrize("attribute", ["bio", "expired"])
def test_columns_of_500_at_once(crowd: Engine, attribute: str) -> None:
    with Session(crowd) as session:
        found = session.scalars(select(User).where(User.id <= 1200).options(batched())).all()
        if attribute == "expired":
            session.expire_all()
        with expect(session, 3):
            [user.bio if attribute == "bio" else user.name for user in found]


def test_limit(crowd: Engine) -> None:
    with Session(crowd) as session:
        found = session.scalars(select(User).where(User.id.between(4, 23)).options(batched(limit=8))).all()
        with expect(session, 3):
            [user.orders for user in found]
        with expect(session, 0):
            [user.orders for user in found]


def test_limit_takes_the_touched_one_and_those_after_it(crowd: Engine) -> None:
    with Session(crowd) as session:
        found = session.scalars(select(User).where(User.id.between(4, 23)).options(batched(limit=5))).all()
        found[10].orders
        assert [number for number, user in enumerate(found) if "orders" in inspect(user).dict] == [10, 11, 12, 13, 14]
        found[18].orders
        assert {number for number, user in enumerate(found) if "orders" in inspect(user).dict} >= {10, 11, 12, 13, 14, 18, 19}


def test_ramp(crowd: Engine) -> None:
    with Session(crowd) as session:
        found = session.scalars(select(User).where(User.id.between(4, 103)).options(batched(ramp=(1, 8, 30)))).all()
        filled = []
        for user in found:
            with_orders = sum("orders" in inspect(each).dict for each in found)
            user.orders
            if (now := sum("orders" in inspect(each).dict for each in found)) != with_orders:
                filled.append(now - with_orders)
        assert filled == [1, 8, 30, 30, 30, 1]


def test_a_ramp_is_per_attribute_and_per_result(crowd: Engine) -> None:
    statement = select(User).options(batched(ramp=(2, 10)))
    with Session(crowd) as session:
        for low in (10, 30):
            found = session.scalars(statement.where(User.id.between(low, low + 9))).all()
            for attribute in ("orders", "bio"):
                getattr(found[0], attribute)
                assert sum(attribute in inspect(each).dict for each in found) == 2


def test_rows_cap(crowd: Engine) -> None:
    with Session(crowd) as session:
        found = session.scalars(select(User).options(batched(rows=100))).all()
        with expect(session, 1):
            found[0].orders
        assert sum("orders" in inspect(user).dict for user in found) == 500
        with expect(session, 2):
            [user.orders for user in found]
