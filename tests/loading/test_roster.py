"""Many results in one session: each touch looks at its own result, whatever else the session holds."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, insert, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from dal import batched
from dal.testing import count_statements
from tests.loading.models import METADATA, Order, User

USERS = 1500


@pytest.fixture(scope="module")
def crowd() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    METADATA.create_all(engine)
    with Session(engine) as session:
        session.execute(insert(User), [{"id": n, "name": f"u{n}"} for n in range(1, USERS + 1)])
        session.execute(insert(Order), [{"id": n, "user_id": n, "total": n} for n in range(1, USERS + 1)])
        session.commit()
    yield engine
    engine.dispose()


def one_by_one(session: Session, batch: bool, count: int) -> list[User]:
    options = [batched()] if batch else []
    return [session.get_one(User, n, options=options) for n in range(1, count + 1)]


def users(session: Session, first: int, last: int) -> list[User]:
    return list(session.scalars(select(User).where(User.id.between(first, last)).order_by(User.id).options(batched())))


def seconds(engine: Engine, batch: bool) -> float:
    with Session(engine) as session:
        found = one_by_one(session, batch, USERS)
        start = time.process_time()
        assert [len(user.orders) for user in found] == [1] * USERS
        return time.process_time() - start


def test_objects_loaded_one_by_one_do_not_take_the_square(crowd: Engine) -> None:
    """A scan of the whole session at each touch takes about nine times as long as SQLAlchemy here."""
    assert min(seconds(crowd, True) for _ in range(3)) < 4 * min(seconds(crowd, False) for _ in range(3))


def test_results_that_come_later_are_seen(crowd: Engine) -> None:
    with Session(crowd) as session:
        first = users(session, 1, 200)
        with count_statements(session) as sent:
            assert [len(user.orders) for user in first] == [1] * 200
            second = users(session, 201, 400)
            assert [len(user.orders) for user in second] == [1] * 200
        assert sent.count == 3


def test_objects_that_are_gone(crowd: Engine) -> None:
    with Session(crowd) as session:
        first, second = users(session, 1, 200), users(session, 201, 400)
        first[0].orders
        del first[:150]
        with count_statements(session) as sent:
            assert [len(user.orders) for user in second] == [1] * 200
        assert sent.count == 1


def test_objects_that_came_again(crowd: Engine) -> None:
    with Session(crowd) as session:
        first, others = users(session, 1, 200), users(session, 201, 400)
        first[0].orders
        statement = select(User).where(User.id <= 300).options(batched()).execution_options(populate_existing=True)
        again = session.scalars(statement).all()
        with count_statements(session) as sent:
            assert [len(user.orders) for user in again] == [1] * 300
            assert [len(user.orders) for user in others] == [1] * 200
        assert sent.count == 2


def test_objects_that_left_the_session(crowd: Engine) -> None:
    with Session(crowd) as session:
        found = users(session, 1, 200)
        found[0].orders
        session.expunge_all()
        found = users(session, 1, 300)
        with count_statements(session) as sent:
            assert [len(user.orders) for user in found] == [1] * 300
        assert sent.count == 1
