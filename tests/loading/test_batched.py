"""Batched: every kind of attribute costs one statement for all objects of the same result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from dal import batched, hybrid
from tests.loading.counting import expect
from tests.loading.models import (
    Category,
    Employee,
    Engineer,
    Item,
    Manager,
    Order,
    Place,
    Profile,
    Tag,
    Tool,
    User,
    Visit,
)


def users(session: Session, **arguments: Any) -> list[User]:
    return list(session.scalars(select(User).order_by(User.id).options(batched(**arguments))))


KINDS: dict[str, tuple[Any, Callable[[Any], Any], int, Any]] = {
    "one to many": (
        User,
        lambda each: [order.total for order in each.orders],
        1,
        [[110], [220, 210], [330, 320, 310], [], [510], [620, 610]],
    ),
    "many to one": (Order, lambda each: each.user.name, 1, ["u1", "u2", "u2", "u3", "u3", "u3", "u5", "u6", "u6"]),
    "one to one": (User, lambda each: each.profile.motto if each.profile else None, 1, ["m1", None, "m3", None, "m5", None]),
    "one to one, back": (Profile, lambda each: each.user.name, 1, ["u1", "u3", "u5"]),
    "many to many": (
        User,
        lambda each: [tag.label for tag in each.tags],
        1,
        [["t1"], ["t1", "t2"], [], ["t1"], ["t1", "t2"], []],
    ),
    "many to many, back": (Tag, lambda each: [user.id for user in each.users], 1, [[1, 2, 4, 5], [2, 5], []]),
    "own primaryjoin": (User, lambda each: len(each.big_orders), 1, [1, 2, 3, 0, 1, 2]),
    "to itself": (
        Category,
        lambda each: [child.id for child in each.children],
        1,
        [[2, 3], [21, 22], [31, 32], [], [], [], []],
    ),
    "to itself, back": (Category, lambda each: each.parent.id if each.parent else None, 0, [None, 1, 1, 2, 2, 3, 3]),
    "composite key": (Place, lambda each: [visit.id for visit in each.visits], 1, [[10, 11], [20, 21], [30, 31]]),
    "composite key, back": (
        Visit,
        lambda each: each.place.name if each.place else None,
        1,
        ["x1", "x1", "x2", "x2", "x3", "x3", None],
    ),
    "subclass": (Engineer, lambda each: len(each.tools), 1, [2, 2, 2]),
    "subclass, back": (Tool, lambda each: each.engineer.language, 1, ["l2", "l2", "l3", "l3", "l4", "l4"]),
    "inherited": (Engineer, lambda each: each.boss.budget, 1, [5, 5, 5]),
    "deferred column": (User, lambda each: each.bio, 1, [f"bio {n}" for n in range(1, 7)]),
    "deferred group": (User, lambda each: (each.street, each.town), 1, [(f"s{n}", f"c{n}") for n in range(1, 7)]),
    "deferred, composite key": (Place, lambda each: each.history, 1, ["h1", "h2", "h3"]),
    "association proxy": (User, lambda each: list(each.labels), 1, [["t1"], ["t1", "t2"], [], ["t1"], ["t1", "t2"], []]),
    "hybrid property": (User, lambda each: each.spent, 1, [110, 430, 960, 0, 510, 1230]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_costs_one_statement(session: Session, kind: str) -> None:
    entity, touch, statements, values = KINDS[kind]
    found = session.scalars(select(entity).order_by(*inspect(entity).primary_key).options(batched())).all()
    with expect(session, statements):
        assert [touch(each) for each in found] == values
    with expect(session, 0):
        assert [touch(each) for each in found] == values


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_again_after_a_commit(session: Session, kind: str) -> None:
    entity, touch, _, values = KINDS[kind]
    found = session.scalars(select(entity).order_by(*inspect(entity).primary_key).options(batched())).all()
    [touch(each) for each in found]
    session.commit()
    with expect(session, 1):
        assert [touch(each) for each in found] == values


def test_a_subclass_among_its_base(session: Session) -> None:
    found = session.scalars(select(Employee).order_by(Employee.id).options(batched())).all()
    with expect(session, 1):
        assert [each.language for each in found if isinstance(each, Engineer)] == ["l2", "l3", "l4"]
    with expect(session, 1):
        assert [len(each.tools) for each in found if isinstance(each, Engineer)] == [2, 2, 2]
    with expect(session, 0):
        assert {each.boss.name for each in found if each.boss} == {"m1"}


def test_it_goes_on_with_what_it_loads(session: Session) -> None:
    found = users(session)
    with expect(session, 3):
        names = {item.product.name for user in found for order in user.orders for item in order.items}
    assert names == {"p1", "p2"}


def test_it_goes_on_through_eager_paths(session: Session) -> None:
    found = session.scalars(select(User).options(hybrid(eager=[User.orders]))).all()
    with expect(session, 2):
        assert {item.product.name for user in found for order in user.orders for item in order.items} == {"p1", "p2"}


@pytest.mark.parametrize("walk", ["depth first", "breadth first"])
def test_the_order_of_a_walk_does_not_matter(session: Session, walk: str) -> None:
    top = session.scalars(select(Category).where(Category.id == 1).options(batched())).one()
    with expect(session, 3):
        if walk == "breadth first":
            level = [top]
            while level:
                level = [child for category in level for child in category.children]
        else:

            def down(category: Category) -> None:
                for child in category.children:
                    down(child)

            down(top)


def test_items_of_a_manager(session: Session) -> None:
    managers = session.scalars(select(Manager).options(batched())).all()
    with expect(session, 2):
        assert [len(each.tools) for each in managers[0].team if isinstance(each, Engineer)] == [2, 2, 2]
    items = session.scalars(select(Item).options(batched())).all()
    with expect(session, 1):
        [item.product for item in items]
