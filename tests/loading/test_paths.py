"""Attributes hang on every path named before them that ends at their class; tuples are explicit; depth follows itself."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, MetaData, Table, create_engine, select, true
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column, relationship, selectin_polymorphic

from dal import Policy, eager, strict
from dal.errors import NotLoaded, UsageError
from dal.loading.paths import Named, make_paths
from tests.loading.counting import expect
from tests.loading.models import Category, Employee, Engineer, Item, Manager, Order, Place, Product, Tag, User, Visit


def test_each_attribute_hangs_on_the_entity_and_on_paths_before_it(session: Session) -> None:
    with expect(session, 3):
        users = session.scalars(select(User).options(eager(User.orders, Order.items, Item.product), strict())).all()
    with expect(session, 0):
        assert {item.product.name for user in users for order in user.orders for item in order.items} == {"p1", "p2"}
    with pytest.raises(NotLoaded):
        users[0].tags


def test_the_order_given_does_not_reach_backwards(session: Session) -> None:
    statement = select(User).options(eager(Order.items, User.orders))
    with expect(session, 0), pytest.raises(UsageError, match=r"Order\.items is not reached"):
        session.scalars(statement)


def test_the_same_attribute_at_several_places(session: Session) -> None:
    """`User.tags` is loaded for the users selected and for the users reached through tags."""
    statement = select(User).where(User.id == 2).options(eager(User.tags, Tag.users, User.orders), strict())
    with expect(session, 5):
        user = session.scalars(statement).one()
    with expect(session, 0):
        others = [other for tag in user.tags for other in tag.users]
        assert {other.id for other in others} == {1, 2, 4, 5}
        assert {other.id: len(other.orders) for other in others} == {1: 1, 2: 2, 4: 0, 5: 1}


def test_back_and_forth(session: Session) -> None:
    statement = select(Order).options(eager(Order.user, User.orders, Order.items), strict())
    orders = session.scalars(statement).all()
    with expect(session, 0):
        assert all(len(other.items) == 2 for order in orders if order.user for other in order.user.orders)


def test_a_tuple_is_one_explicit_path(session: Session) -> None:
    statement = select(Category).where(Category.id == 1).options(eager((Category.children, Category.children)), strict())
    with expect(session, 3):
        top = session.scalars(statement).one()
    assert [[low.name for low in child.children] for child in top.children] == [["c21", "c22"], ["c31", "c32"]]
    with pytest.raises(NotLoaded):
        top.children[0].children[0].children


def test_a_tuple_starts_at_the_entity_only(session: Session) -> None:
    statement = select(User).options(eager(User.orders, (Order.items, Item.product)))
    with expect(session, 0), pytest.raises(UsageError, match=r"breaks at Order\.items: User is no Order"):
        session.scalars(statement)


def test_what_follows_a_tuple_hangs_on_its_end(session: Session) -> None:
    statement = select(User).options(eager((User.orders, Order.items), Item.product), strict())
    with expect(session, 3):
        users = session.scalars(statement).all()
    with expect(session, 0):
        [item.product.name for user in users for order in user.orders for item in order.items]


@pytest.mark.parametrize(("depth", "statements", "reached"), [(1, 2, 1), (2, 3, 2), (3, 4, 2), (5, 4, 2)])
def test_depth(session: Session, depth: int, statements: int, reached: int) -> None:
    statement = select(Category).where(Category.id == 1).options(eager(Category.children, depth=depth), strict())
    with expect(session, statements):
        level = [session.scalars(statement).one()]
    with expect(session, 0):
        for _ in range(reached):
            level = [child for category in level for child in category.children]
    assert len(level) == 2**reached
    if depth <= 2:
        with pytest.raises(NotLoaded):
            level[0].children


def test_depth_upwards(session: Session) -> None:
    statement = select(Category).where(Category.id == 21).options(eager(Category.parent, depth=2), strict())
    with expect(session, 1):
        low = session.scalars(statement).one()
    with expect(session, 0):
        assert low.parent is not None
        assert low.parent.parent is not None
        assert low.parent.parent.name == "c"


def test_depth_at_the_end_of_a_path(session: Session) -> None:
    statement = (
        select(Category).where(Category.id == 1).options(eager((Category.children, Category.children), depth=2), strict())
    )
    with expect(session, 4):
        session.scalars(statement).one()


@pytest.mark.parametrize(("using", "statements"), [("joined", 1), ("selectin", 3), ("subquery", 3)])
def test_using(session: Session, using: Any, statements: int) -> None:
    statement = select(User).order_by(User.id).options(eager(User.orders, Order.items, using=using), strict())
    with expect(session, statements):
        users = session.scalars(statement).unique().all()
    with expect(session, 0):
        assert [len(user.orders) for user in users] == [1, 2, 3, 0, 1, 2]
        assert sum(len(order.items) for user in users for order in user.orders) == 18


def test_the_nearer_policy_s_strategy_wins(session: Session) -> None:
    far, near = eager(User.orders, using="selectin"), eager(User.orders, using="joined")
    with expect(session, 1):
        session.scalars(select(User).options(far).options(near)).unique().all()


def test_by_default_to_one_is_joined_and_collections_come_apart(session: Session) -> None:
    with expect(session, 2) as seen:
        session.scalars(select(Item).options(eager(Item.product, Item.order, Order.user, User.tags))).all()
    assert seen.statements[0].count("JOIN") == 3


def test_composite_keys(session: Session) -> None:
    with expect(session, 2):
        places = session.scalars(select(Place).order_by(Place.x).options(eager(Place.visits), strict())).all()
    assert [[visit.id for visit in place.visits] for place in places] == [[10, 11], [20, 21], [30, 31]]
    with expect(session, 1):
        visits = session.scalars(select(Visit).order_by(Visit.id).options(eager(Visit.place), strict())).all()
    assert visits[-1].place is None


def test_deferred_columns_are_attributes_too(session: Session) -> None:
    statement = select(User).options(eager(User.bio, User.orders, Order.note), strict(columns=True))
    with expect(session, 2):
        users = session.scalars(statement).all()
    with expect(session, 0):
        assert all(order.note for user in users if user.bio for order in user.orders)
    with pytest.raises(NotLoaded):
        users[0].town


def test_attributes_of_a_subclass_of_the_entity(session: Session) -> None:
    """One statement more for the rows of each subclass: without them SQLAlchemy loads none of its attributes."""
    statement = select(Employee).order_by(Employee.id)
    with expect(session, 5):
        found = session.scalars(statement.options(eager(Engineer.tools, Manager.team), strict(columns=True))).all()
    with expect(session, 0):
        assert [len(each.tools) for each in found if isinstance(each, Engineer)] == [2, 2, 2]
        assert [len(each.team) for each in found if isinstance(each, Manager)] == [3]
        assert [each.language for each in found if isinstance(each, Engineer)] == ["l2", "l3", "l4"]


def test_columns_of_a_sub_table(session: Session) -> None:
    with expect(session, 2):
        found = session.scalars(select(Employee).options(eager(Manager.budget), strict(columns=True))).all()
    assert [each.budget for each in found if isinstance(each, Manager)] == [5]
    with pytest.raises(NotLoaded, match=r"Engineer\.language"):
        [each.language for each in found if isinstance(each, Engineer)]


def test_the_statement_s_own_subclasses_win(session: Session) -> None:
    statement = select(Employee).options(selectin_polymorphic(Employee, [Manager]), eager(Engineer.tools), strict())
    found = session.scalars(statement).all()
    with pytest.raises(NotLoaded):
        [each.tools for each in found if isinstance(each, Engineer)]


def test_attributes_of_a_base_class_of_the_entity(session: Session) -> None:
    with expect(session, 1):
        engineers = session.scalars(select(Engineer).options(eager(Employee.boss), strict())).all()
    assert {engineer.boss.name for engineer in engineers if engineer.boss} == {"m1"}


def test_of_type(session: Session) -> None:
    statement = select(Manager).options(eager(Manager.team.of_type(Engineer), Engineer.tools), strict())
    managers = session.scalars(statement).all()
    with expect(session, 0):
        team = [each for each in managers[0].team if isinstance(each, Engineer)]
        assert [len(each.tools) for each in team] == [2, 2, 2]
        assert team[0].language == "l2"


def test_criteria_of_the_attribute(session: Session) -> None:
    statement = select(User).order_by(User.id).options(eager(User.orders.and_(Order.total > 215), Order.items))
    users = session.scalars(statement).all()
    assert [[order.total for order in user.orders] for user in users] == [[], [220], [330, 320, 310], [], [510], [620, 610]]


@pytest.mark.parametrize("policy", [eager(User.orders), eager(Named("User", "orders"))])  # type: ignore[arg-type]
def test_an_alias_is_reached_by_the_class(session: Session, policy: Policy) -> None:
    people = aliased(User)
    with expect(session, 2):
        users = session.scalars(select(people).order_by(people.id).options(policy, strict())).all()
    assert [len(user.orders) for user in users] == [1, 2, 3, 0, 1, 2]


def test_an_alias_by_its_own_attribute(session: Session) -> None:
    people, others = aliased(User), aliased(User)
    with expect(session, 2):
        users = session.scalars(select(people).order_by(people.id).options(eager(people.orders), strict())).all()
    assert [len(user.orders) for user in users] == [1, 2, 3, 0, 1, 2]
    with expect(session, 0), pytest.raises(UsageError):
        session.scalars(select(people).options(eager(others.orders)))


def test_two_entities(session: Session) -> None:
    statement = (
        select(User, Product)
        .join(Product, true())
        .where(User.id == 2, Product.id == 1)
        .options(eager(User.orders, Order.items), strict())
    )
    with expect(session, 3):
        user, _ = session.execute(statement).one()
    with expect(session, 0):
        assert [len(order.items) for order in user.orders] == [2, 2]


def test_two_aliases_of_one_class(session: Session) -> None:
    low, high = aliased(Category), aliased(Category)
    statement = select(low, high).join(high, low.parent_id == high.id).where(low.id == 2)
    with expect(session, 2):
        child, parent = session.execute(statement.options(eager(low.children), strict())).one()
    assert [each.id for each in child.children] == [21, 22]
    with pytest.raises(NotLoaded):
        parent.children


def test_names_are_resolved_where_they_are_used() -> None:
    assert str(make_paths([(Named("User", "orders"), Named("Order", "items"))])[0]) == "User.orders -> Order.items"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([Named("User", "order")], r"(?s)has no attribute 'order'.*did you mean User\.orders"),
        ([Named("User", "zzz")], "(?s)has no attribute 'zzz'.*it has .*orders"),
        ([Named("Item", "product")], r"Item\.product is not reached: .*; the statement selects User"),
        ([(Named("User", "orders"), Named("Item", "product"))], r"breaks at Item\.product: Order is no Item"),
        ([Named("User", "spent")], "has no attribute 'spent'"),
    ],
)
def test_names_that_lead_nowhere(session: Session, names: list[Any], told: str) -> None:
    with expect(session, 0), pytest.raises(UsageError, match=told):
        session.scalars(select(User).options(Policy(make_paths(names)))).all()


def test_a_name_of_a_subclass(session: Session) -> None:
    statement = select(Employee).options(Policy(make_paths([Named("Engineer", "tools")])), strict())
    employees = session.scalars(statement).all()
    assert sum(len(each.tools) for each in employees if isinstance(each, Engineer)) == 6


class Base(DeclarativeBase):
    metadata = MetaData()


follows = Table(
    "follows",
    Base.metadata,
    Column("one", ForeignKey("people.id"), primary_key=True),
    Column("other", ForeignKey("people.id"), primary_key=True),
)


class Person(Base):
    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    friends: Mapped[list[Person]] = relationship(
        secondary=follows, primaryjoin="Person.id == follows.c.one", secondaryjoin="Person.id == follows.c.other"
    )


def test_a_circle_of_friends_to_a_depth() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        one, two, three = Person(id=1), Person(id=2), Person(id=3)
        one.friends, two.friends, three.friends = [two], [three], [one]
        session.add(one)
        session.commit()
        session.expunge_all()
        with expect(session, 3):
            found = session.scalars(
                select(Person).where(Person.id == 1).options(eager(Person.friends, depth=2), strict())
            ).one()
        assert found.friends[0].friends[0].id == 3
    engine.dispose()
