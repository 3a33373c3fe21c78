"""Batched: pending, expired, deleted, detached and merged objects; autoflush; what was changed is kept."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, select, update
from sqlalchemy.orm import Session, make_transient, object_session
from sqlalchemy.orm.exc import DetachedInstanceError, ObjectDeletedError

from dal import batched
from tests.loading.counting import expect
from tests.loading.models import (
    METADATA,
    Order,
    Place,
    Tool,
    User,
)


def users(session: Session, **arguments: Any) -> list[User]:
    return list(session.scalars(select(User).order_by(User.id).options(batched(**arguments))))


def test_pending_changes_are_flushed_first(session: Session) -> None:
    found = users(session)
    session.add(Order(id=500, user_id=4, total=1))
    assert [len(user.orders) for user in found] == [1, 2, 3, 1, 1, 2]


def test_autoflush_off(session: Session) -> None:
    found = users(session)
    session.add(Order(id=500, user_id=4, total=1))
    with session.no_autoflush:
        assert [len(user.orders) for user in found] == [1, 2, 3, 0, 1, 2]


def test_what_was_appended_before_the_load_is_kept(session: Session) -> None:
    found = users(session)
    new = Order(total=7)
    with session.no_autoflush:
        new.user = found[3]
        other = Order(total=8)
        other.user = found[0]
        assert [len(user.orders) for user in found] == [2, 2, 3, 1, 1, 2]
    assert new in found[3].orders
    assert other in found[0].orders


def test_what_was_assigned_is_kept(session: Session) -> None:
    found = users(session)
    mine: list[Order] = []
    found[2].orders = mine
    with session.no_autoflush:
        [user.orders for user in found]
    assert found[2].orders == []
    found[1].bio = "changed"
    with session.no_autoflush:
        assert [user.bio for user in found][:2] == ["bio 1", "changed"]
    assert inspect(found[1]).attrs.bio.history.added == ["changed"]


def test_a_reference_that_was_moved(session: Session) -> None:
    orders = session.scalars(select(Order).order_by(Order.id).options(batched())).all()
    with session.no_autoflush:
        orders[0].user_id = 4
        assert [order.user.id for order in orders if order.user] == [4, 2, 2, 3, 3, 3, 5, 6, 6]


def test_a_key_that_was_changed_does_not_load_for_the_wrong_one(session: Session) -> None:
    found = session.scalars(select(Place).order_by(Place.x).options(batched())).all()
    with session.no_autoflush:
        found[1].x = 77
        assert [visit.id for visit in found[0].visits] == [10, 11]
        assert [visit.id for visit in found[2].visits] == [30, 31]
    session.rollback()


def test_deleted_rows(session: Session) -> None:
    found = users(session)
    [user.orders for user in found]
    session.expire_all()
    for table in ("user_tag", "profiles", "items", "orders", "users"):
        session.execute(METADATA.tables[table].delete())
    with pytest.raises(ObjectDeletedError):
        found[0].name


def test_a_row_that_was_deleted_among_others(session: Session) -> None:
    found = session.scalars(select(Tool).order_by(Tool.id).options(batched())).all()
    session.expire_all()
    session.execute(METADATA.tables["tools"].delete().where(METADATA.tables["tools"].c.id == 21))
    with expect(session, 2):
        assert [tool.engineer_id for tool in found if tool is not found[1]] == [2, 3, 3, 4, 4]
        with pytest.raises(ObjectDeletedError):
            found[1].engineer_id


def test_deleted_objects_are_not_filled(session: Session) -> None:
    found = session.scalars(select(Tool).order_by(Tool.id).options(batched())).all()
    session.delete(found[0])
    session.flush()
    with expect(session, 1):
        [tool.engineer for tool in found[1:]]
    session.rollback()


def test_detached(session: Session) -> None:
    found = users(session)
    session.expunge_all()
    with pytest.raises(DetachedInstanceError):
        found[0].orders


def test_one_detached_among_others(session: Session) -> None:
    found = users(session)
    session.expunge(found[1])
    with expect(session, 1):
        found[0].orders
    assert "orders" not in inspect(found[1]).dict


def test_transient(session: Session) -> None:
    found = users(session)
    make_transient(found[1])
    assert found[1].orders == []
    assert len(found[2].orders) == 3


def test_merge(session: Session, shop_engine: Engine) -> None:
    found = users(session)
    with Session(shop_engine) as other:
        merged = [other.merge(user) for user in found]
        with expect(other, 1):
            assert [len(user.orders) for user in merged] == [1, 2, 3, 0, 1, 2]


def test_merge_without_load(session: Session, shop_engine: Engine) -> None:
    found = users(session)
    with Session(shop_engine) as other:
        merged = [other.merge(user, load=False) for user in found]
        with expect(other, 1):
            assert [len(user.orders) for user in merged] == [1, 2, 3, 0, 1, 2]


def test_objects_pickled_to_another_session(session: Session, shop_engine: Engine) -> None:
    again = pickle.loads(pickle.dumps(users(session)))
    with Session(shop_engine) as other:
        other.add_all(again)
        with expect(other, 1):
            assert [len(user.tags) for user in again] == [1, 2, 0, 1, 2, 0]


def test_refresh_and_expire_of_one(session: Session) -> None:
    found = users(session)
    [user.orders for user in found]
    with expect(session, 1):
        session.refresh(found[0])
    session.expire(found[1])
    with expect(session, 1):
        assert found[1].name == "u2"
    with expect(session, 1):
        assert len(found[1].orders) == 2


def test_expired_rows_show_what_others_wrote(session: Session) -> None:
    found = users(session)
    session.execute(update(User).values(name=User.name + "!"), execution_options={"synchronize_session": False})
    assert found[0].name == "u1"
    session.expire_all()
    with expect(session, 1):
        assert [user.name for user in found] == [f"u{n}!" for n in range(1, 7)]


def test_expired_with_a_change_of_one(session: Session) -> None:
    found = users(session)
    session.expire_all()
    found[2].name = "mine"
    with session.no_autoflush:
        assert [user.name for user in found] == ["u1", "u2", "mine", "u4", "u5", "u6"]
    assert inspect(found[2]).modified


def test_expire_of_some_attributes(session: Session) -> None:
    found = users(session)
    [user.orders for user in found]
    for user in found:
        session.expire(user, ["name", "orders"])
    with expect(session, 2):
        assert [(user.name, len(user.orders)) for user in found][5] == ("u6", 2)


def test_after_rollback(session: Session) -> None:
    found = users(session)
    found[0].name = "changed"
    session.flush()
    session.rollback()
    with expect(session, 1):
        assert [user.name for user in found] == [f"u{n}" for n in range(1, 7)]


def test_delete_cascades_and_flush_are_sqlalchemy_s_own(session: Session) -> None:
    found = users(session)
    session.delete(found[3])
    session.flush()
    assert object_session(found[3]) is None or found[3] in session.deleted or inspect(found[3]).deleted
    session.rollback()
