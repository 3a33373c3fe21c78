"""What the words accept and refuse, before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    Session,
    WriteOnlyMapped,
    aliased,
    mapped_column,
    relationship,
)

from dal import AllowList, batched, eager, hybrid, lazy, strict
from dal.errors import DalError, UsageError
from tests.loading.counting import expect
from tests.loading.models import Category, Item, Order, Product, User


class Base(DeclarativeBase): ...


class Parent(Base):
    __tablename__ = "parents"
    id: Mapped[int] = mapped_column(primary_key=True)
    slow: DynamicMapped[Child] = relationship(primaryjoin="Parent.id == foreign(Child.parent_id)", viewonly=True)
    written: WriteOnlyMapped[Child] = relationship(primaryjoin="Parent.id == foreign(Child.parent_id)", viewonly=True)


class Child(Base):
    __tablename__ = "children"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda: eager("orders"), r"(?s)'orders' is a string where an attribute is wanted.*User\.orders"),  # type: ignore[arg-type]
        (lambda: eager((User.orders, "items")), "'items' is a string"),  # type: ignore[arg-type]
        (lambda: eager(User), "not a mapped relationship or column"),  # type: ignore[arg-type]
        (lambda: eager(int), "not a mapped relationship or column"),  # type: ignore[arg-type]
        (lambda: eager(User.spent), "not a mapped relationship or column"),
        (lambda: eager(User.labels), "not a mapped relationship or column"),  # type: ignore[arg-type]
        (lambda: eager(User.id == 3), "not a mapped relationship or column"),  # type: ignore[arg-type]
        (lambda: eager(User.orders.property), "not a mapped relationship or column"),  # type: ignore[arg-type]
        (lambda: eager([User.orders]), "not a mapped relationship or column"),  # type: ignore[arg-type]
        (lambda: eager(None), "not a mapped relationship or column"),  # type: ignore[arg-type]
        (lambda: eager(()), "an empty tuple is no path"),
        (lambda: eager(Parent.slow), r"(?s)lazy='dynamic' and cannot be loaded as a whole.*slow\.select"),
        (lambda: eager(Parent.written), "lazy='write_only'"),
        (lambda: eager(User.orders, using="lateral"), r"(?s)'lateral' is not a loading strategy.*joined, selectin, subquery"),  # type: ignore[arg-type]
        (lambda: eager(Category.children, depth=0), "depth=0"),
        (lambda: eager(Category.children, depth=True), "depth=True"),
        (lambda: eager(Category.children, depth=1.5), r"depth=1\.5"),  # type: ignore[arg-type]
        (lambda: eager(User.orders, depth=2), "depth=2 needs a self-referential attribute"),
        (lambda: hybrid(eager=["orders"]), "'orders' is a string"),  # type: ignore[list-item]
        (lambda: hybrid(eager=[User.orders], otherwise=batched), r"(?s)not a loading policy.*write batched\(\)"),  # type: ignore[arg-type]
        (lambda: hybrid(eager=[User.orders], otherwise="lazy"), "'lazy' is not a loading policy"),  # type: ignore[arg-type]
        (lambda: batched(limit=0), r"(?s)limit=0.*1 or more"),
        (lambda: batched(rows=-1), "rows=-1"),
        (lambda: batched(limit=True), "limit=True"),
        (lambda: batched(ramp=(8, 0)), "ramp=0"),
        (lambda: batched(ramp=("8",)), "ramp='8'"),  # type: ignore[arg-type]
        (lambda: strict(only="some"), "all, to_many, n_plus_one"),  # type: ignore[arg-type]
        (lambda: strict(action="log"), "'raise' or 'warn'"),  # type: ignore[arg-type]
        (lambda: strict(allow="User.orders"), r"(?s)allow=.*User\.orders is not a list"),
        (lambda: strict(allow=["orders"]), "'orders' is not the name of an attribute"),
        (lambda: AllowList(["User.orders.items"]), "is not the name of an attribute"),
    ],
)
def test_refused_when_made(given: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        given()
    assert refused.value.hint


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda: eager(Order.items), r"Order\.items is not reached: .*; the statement selects User"),
        (
            lambda: eager(User.orders, Item.product),
            r"Item\.product is not reached: .*; the statement selects User and reaches Order",
        ),
        (lambda: eager(Order.items, User.orders), r"Order\.items is not reached"),
        (
            lambda: eager((User.orders, Item.product)),
            r"the path User\.orders -> Item\.product breaks at Item\.product: Order is no Item",
        ),
        (lambda: eager((Order.items, Item.product)), r"breaks at Order\.items: User is no Order"),
        (lambda: eager((User.name, User.orders)), r"breaks at User\.orders"),
        (lambda: eager(aliased(User).orders), "is not reached"),
        (lambda: hybrid(eager=[Product.name]), r"Product\.name is not reached"),
    ],
)
def test_refused_when_compiled_and_before_it_is_sent(session: Session, given: Any, told: str) -> None:
    with expect(session, 0), pytest.raises(UsageError, match=told) as refused:
        session.scalars(select(User).options(given())).all()
    assert refused.value.hint


@pytest.mark.parametrize("forgotten", [batched, lazy, strict, eager, hybrid])
def test_parentheses_forgotten(session: Session, forgotten: Any) -> None:
    with expect(session, 0), pytest.raises(Exception, match=forgotten.__name__):
        session.scalars(select(User).options(forgotten)).all()
    with expect(session, 0), pytest.raises(DalError, match=rf"{forgotten.__name__}\(\)"):
        hybrid(eager=[], otherwise=forgotten)


def test_how_they_read() -> None:
    assert repr(lazy()) == "lazy()"
    assert repr(strict()) == "strict()"
    assert repr(eager(User.orders, (User.orders, Order.items))) == "eager(User.orders, (User.orders -> Order.items))"
    assert repr(hybrid(eager=[User.profile])) == "hybrid(eager=[User.profile], otherwise=batched())"
    assert repr(hybrid(eager=[User.profile], otherwise=lazy())) == "hybrid(eager=[User.profile], otherwise=lazy())"
    assert repr(hybrid(eager=[User.profile], otherwise=eager(User.tags))) == "eager(User.profile, User.tags)"


def test_hybrid_takes_a_hybrid() -> None:
    nested = hybrid(eager=[User.profile], otherwise=hybrid(eager=[User.tags], otherwise=strict()))
    assert repr(nested) == "hybrid(eager=[User.profile, User.tags], otherwise=strict())"
