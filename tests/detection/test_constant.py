"""`assert_constant_queries`: growth is found, constant work is not, and only the act is counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.orm import Session, selectinload, sessionmaker
from sqlalchemy.pool import StaticPool

from dal.errors import NPlusOneFound, UsageError
from dal.testing import assert_constant_queries
from tests.detection.scenarios.models import Base, Post, User


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def make_users(session: Session, size: int) -> None:
    for _ in range(size):
        session.add(User(name="x", posts=[Post(title="a"), Post(title="b")]))
        session.flush()


def bad(session: Session) -> None:
    for user in session.scalars(select(User)):
        len(user.posts)


def good(session: Session) -> None:
    for user in session.scalars(select(User).options(selectinload(User.posts))):
        len(user.posts)


def test_growth_is_named(engine: Engine) -> None:
    with pytest.raises(NPlusOneFound) as caught:
        assert_constant_queries(bad, seed=make_users, session=engine)
    text = str(caught.value)
    assert "2 rows: 3, 5 rows: 8, 11 rows: 19" in text
    assert "test_constant.py" in text
    assert "selectinload(User.posts)" in text


def test_constant_work_passes(engine: Engine) -> None:
    assert assert_constant_queries(good, seed=make_users, session=engine) == [2, 2, 2]
    assert assert_constant_queries(good, seed=make_users, session=sessionmaker(engine), sizes=(1, 3)) == [2, 2]


def test_growth_without_any_pattern(engine: Engine) -> None:
    """Each statement is another one and stands on another line: no rule sees it, counting does."""

    def different_each_time(session: Session) -> None:
        count = session.scalar(select(func.count(User.id))) or 0
        for number in range(count):
            columns = [User.id.label(f"c{n}") for n in range(number + 1)]
            session.execute(select(*columns).limit(1))

    with pytest.raises(NPlusOneFound):
        assert_constant_queries(different_each_time, seed=make_users, session=engine)


def test_one_session_is_emptied(engine: Engine) -> None:
    with Session(engine) as session:
        with pytest.raises(NPlusOneFound):
            assert_constant_queries(lambda: bad(session), seed=lambda size: make_users(session, size), session=session)
        assert assert_constant_queries(good, seed=make_users, session=session) == [2, 2, 2]


def test_bad_input(engine: Engine) -> None:
    with pytest.raises(UsageError, match="growth needs two sizes"):
        assert_constant_queries(good, seed=make_users, session=engine, sizes=(5,))
    with pytest.raises(UsageError, match="growth needs two sizes"):
        assert_constant_queries(good, seed=make_users, session=engine, sizes=(5, 2))
    with pytest.raises(UsageError, match="takes a session"):
        assert_constant_queries(good, seed=make_users)
