"""What holds for any input: keys, filters and paths against what plain Python and plain SQLAlchemy say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, event, inspect
from sqlalchemy.orm import Session

from dal.repository import Repository
from tests.repository.models import Base, Item, Line, Order, Tag, User, user_tag

TABLES: list[Any] = [each.__table__ for each in (User, Order, Item, Tag, Line)] + [user_tag]
KEYS = st.one_of(st.none(), st.integers(-3, 15))
STEPS: list[Any] = [User.orders, User.tags, User.bio, Order.items, Order.user, Item.order, Tag.users]
KEPT = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine, tables=TABLES)
    with Session(engine) as session:
        tags = [Tag(id=number, label=f"t{number}") for number in range(3)]
        session.add_all(
            User(
                id=number,
                email=f"u{number}",
                bio=f"b{number}",
                tags=tags[: number % 4],
                orders=[Order(total=total, items={"x": Item(name="x")}) for total in range(number % 3)],
            )
            for number in range(10)
        )
        session.add_all(Line(number=number // 4, name=str(number % 4)) for number in range(12))
        session.commit()
        yield session
    engine.dispose()


@KEPT
@given(asked=st.lists(KEYS))
def test_get_many_is_many_gets(session: Session, asked: list[int | None]) -> None:
    users = Repository(session, User)
    assert users.get_many(asked) == [users.get(key) for key in asked]


@KEPT
@given(asked=st.lists(st.tuples(KEYS, st.sampled_from(["0", "1", "3", "9"]))))
def test_get_many_of_composite_keys_is_many_gets(session: Session, asked: list[tuple[int | None, str]]) -> None:
    lines = Repository(session, Line)
    assert lines.get_many(asked) == [lines.get(key) for key in asked]


@KEPT
@given(limit=st.integers(0, 12), offset=st.integers(0, 12), total=st.integers(-1, 4))
def test_list_is_a_slice(session: Session, limit: int, offset: int, total: int) -> None:
    users = Repository(session, User)
    rows = [user for user in users.list(order_by=User.id.desc()) if any(order.total > total for order in user.orders)]
    matching = User.orders.any(Order.total > total)
    assert users.list(matching, order_by=User.id.desc(), limit=limit, offset=offset) == rows[offset : offset + limit]
    assert users.count(matching) == len(rows)
    assert users.exists(matching) == bool(rows)


@KEPT
@given(data=st.data())
def test_load_gives_what_lazy_loading_gives(session: Session, data: st.DataObject) -> None:
    session.expunge_all()
    users = Repository(session, User)
    found = users.list(order_by=User.id)
    paths: list[Any] = []
    ends = {User}
    for _ in range(data.draw(st.integers(1, 5))):
        step = data.draw(st.sampled_from([each for each in STEPS if each.class_ in ends]))
        paths.append(step)
        if step.property is not User.bio.property:
            ends.add(step.property.mapper.class_)
    sent: list[str] = []
    bind = session.get_bind()

    def record(_: Any, __: Any, sql: str, *___: Any) -> None:
        sent.append(sql)

    event.listen(bind, "before_cursor_execute", record)
    users.load(found, *paths)
    assert len(sent) <= len(paths)
    event.remove(bind, "before_cursor_execute", record)
    with Session(bind) as plain:
        for ours, theirs in zip(found, Repository(plain, User).list(order_by=User.id), strict=True):
            assert not {step.key for step in paths if step.class_ is User} & inspect(ours).unloaded
            assert shape(ours) == shape(theirs)


def shape(user: User) -> Any:
    return (
        user.bio,
        sorted((tag.id, sorted(each.id for each in tag.users)) for tag in user.tags),
        [(order.id, sorted(order.items), order.user is user) for order in user.orders],
    )
