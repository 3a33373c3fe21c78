from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine, exc, select, text
from sqlalchemy.orm import Session, joinedload

from dal.repository import Repository
from tests.repository.conftest import POSTGRESQL, Door, done
from tests.repository.models import Employee, Engineer, Order, User

pytestmark = POSTGRESQL


@pytest.fixture
def other(url: str) -> Any:
    """Another client of the same database, which waits for nothing."""
    engine = create_engine(url)
    with Session(engine) as session:
        session.execute(text("SET lock_timeout = '100ms'"))
        yield Repository(session, User)
    engine.dispose()


@pytest.mark.parametrize(
    ("lock", "clause"),
    [
        ("update", "FOR UPDATE OF users"),
        ("share", "FOR SHARE OF users"),
        ("skip_locked", "FOR UPDATE OF users SKIP LOCKED"),
        ("nowait", "FOR UPDATE OF users NOWAIT"),
    ],
)
async def test_clauses(door: Door, lock: str, clause: str) -> None:
    await door.seed(User(id=1, email="a"))
    users = door.repository(User)
    for read in (users.get, users.one, users.first, users.list):
        with door.expect(1):
            assert await done(read(1 if read == users.get else User.id == 1, lock=lock))
        assert door.sent[0].rstrip().endswith(clause)


async def test_update_holds_the_row(door: Door, other: Any) -> None:
    await door.seed(User(id=1, email="a"), User(id=2, email="b"))
    users = door.repository(User)
    await done(users.one(User.id == 1, lock="update"))
    assert [user.id for user in other.list(lock="skip_locked")] == [2]
    assert other.get(1).email == "a"
    with pytest.raises(exc.OperationalError, match="could not obtain lock"):
        other.get(1, lock="nowait")
    other.session.rollback()
    await door.run(lambda session: session.rollback())
    assert other.get(1, lock="nowait").id == 1


async def test_share_is_shared(door: Door, other: Any) -> None:
    await door.seed(User(id=1, email="a"))
    await done(door.repository(User).get(1, lock="share"))
    assert other.get(1, lock="share").id == 1
    other.session.rollback()


async def test_locked_row_is_read_as_it_is_now(door: Door, other: Any) -> None:
    await door.seed(User(id=1, email="a", name="old"))
    users = door.repository(User)
    held = await done(users.get(1))
    other.get(1).name = "new"
    other.session.commit()
    assert held.name == "old"
    assert await done(users.get(1, lock="update")) is held
    assert held.name == "new"


async def test_what_is_yet_to_be_written_survives(door: Door) -> None:
    await door.seed(User(id=1, email="a", name="old"))
    users = door.repository(User)
    held = await done(users.get(1))
    held.name = "mine"
    await done(users.one(User.id == 1, lock="update"))
    assert held.name == "mine"

    def without_flush(session: Session) -> str:
        with session.no_autoflush:
            held.name = "yours"
            Repository(session, User).one(User.id == 1, lock="update")
            return str(held.name)

    assert await door.run(without_flush) == "yours"


async def test_only_the_entitys_own_rows(door: Door) -> None:
    await door.seed(User(email="a", orders=[Order(total=1)]), Order(total=2))
    orders = door.repository(Order)
    found = await done(orders.list(select(Order).options(joinedload(Order.user)), order_by=Order.total, lock="update"))
    assert [order.user and order.user.email for order in found] == ["a", None]
    assert "LEFT OUTER JOIN" in door.sent[-1]
    assert door.sent[-1].rstrip().endswith("FOR UPDATE OF orders")


async def test_inheritance(door: Door) -> None:
    await door.seed(Engineer(name="e", number=1), Employee(name="b"))
    assert len(await done(door.repository(Employee).list(lock="update"))) == 2
    assert len(await done(door.repository(Engineer).list(lock="update"))) == 1
