"""Eager paths never change what a statement selects: LIMIT, locks, groups, DISTINCT and textual SQL stay right."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, text, union_all
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, aliased, contains_eager, load_only, selectinload, with_loader_criteria

from dal import batched, eager, hybrid, strict
from dal.errors import NotLoaded
from tests.loading.counting import expect
from tests.loading.models import Category, Item, Order, Profile, Tag, User

GRAPH = (User.profile, User.orders, Order.items, Item.product)


@pytest.mark.parametrize(("limit", "offset", "ids"), [(2, 0, [1, 2]), (2, 2, [3, 4]), (10, 5, [6]), (0, 0, [])])
def test_limit_counts_parents(session: Session, limit: int, offset: int, ids: list[int]) -> None:
    statement = select(User).order_by(User.id).limit(limit).offset(offset).options(eager(*GRAPH), strict())
    users = session.scalars(statement).all()
    assert [user.id for user in users] == ids
    assert [len(user.orders) for user in users] == [user.id % 4 for user in users]


def test_limit_with_joined_collections(session: Session) -> None:
    statement = select(User).order_by(User.id).limit(3).options(eager(User.orders, User.tags, using="joined"), strict())
    with expect(session, 1):
        users = session.scalars(statement).unique().all()
    assert [(len(user.orders), len(user.tags)) for user in users] == [(1, 1), (2, 2), (3, 0)]


def test_limit_of_a_page_that_is_ordered_by_a_joined_table(session: Session) -> None:
    statement = select(User).join(User.orders).order_by(Order.total.desc()).limit(2).options(eager(User.orders), strict())
    assert [len(user.orders) for user in session.scalars(statement)] == [2, 2]


def test_the_number_of_rows_does_not_change_the_number_of_statements(session: Session) -> None:
    for limit in (1, 2, 6):
        session.expunge_all()
        # Users with their profiles; orders; items with their products.
        with expect(session, 3):
            session.scalars(select(User).order_by(User.id.desc()).limit(limit).options(eager(*GRAPH))).all()


def test_for_update_locks_only_what_it_names(session: Session) -> None:
    statement = select(User).where(User.id == 1).with_for_update().options(eager(User.profile, User.orders), strict())
    with expect(session, 3) as seen:
        user = session.scalars(statement).one()
    assert "JOIN" not in seen.statements[0]
    assert not any("FOR UPDATE" in sent for sent in seen.statements[1:])
    assert user.profile is not None
    assert user.profile.motto == "m1"


def test_group_by(session: Session) -> None:
    statement = select(User, func.count(Order.id)).outerjoin(User.orders).group_by(User.id).order_by(User.id)
    with expect(session, 2):
        rows = session.execute(statement.options(eager(User.profile), strict())).all()
    assert [count for _, count in rows] == [1, 2, 3, 0, 1, 2]
    assert [user.profile is not None for user, _ in rows] == [True, False] * 3


def test_distinct(session: Session) -> None:
    statement = select(User).join(User.orders).distinct().order_by(User.id).options(eager(User.profile), strict())
    with expect(session, 2):
        users = session.scalars(statement).all()
    assert [(user.id, user.profile is not None) for user in users] == [(1, True), (2, False), (3, True), (5, True), (6, False)]


def test_distinct_on(session: Session) -> None:
    statement = select(Order).ext(distinct_on(Order.user_id)).order_by(Order.user_id, Order.total)
    orders = session.scalars(statement.options(eager(Order.user, Order.items), strict())).all()
    assert [(order.total, order.user.id) for order in orders if order.user] == [
        (110, 1),
        (210, 2),
        (310, 3),
        (510, 5),
        (610, 6),
    ]
    assert [len(order.items) for order in orders] == [2] * 5


def test_from_statement(session: Session) -> None:
    statement = select(User).from_statement(text("SELECT * FROM users WHERE id < 4 ORDER BY id"))
    with expect(session, 3):
        users = session.scalars(statement.options(eager(User.profile, User.orders), strict())).all()
    assert [(user.profile is not None, len(user.orders)) for user in users] == [(True, 1), (False, 2), (True, 3)]


def test_from_statement_of_a_union(session: Session) -> None:
    both = union_all(select(User).where(User.id == 1), select(User).where(User.id == 3)).order_by("id")
    users = session.scalars(select(User).from_statement(both).options(eager(User.profile, User.orders), strict())).all()
    assert [(user.profile is not None, len(user.orders)) for user in users] == [(True, 1), (True, 3)]


def test_from_a_subquery(session: Session) -> None:
    people = aliased(User, select(User).where(User.id > 4).subquery())
    with expect(session, 2):
        users = session.scalars(select(people).order_by(people.id).options(eager(User.profile, User.orders), strict())).all()
    assert [(user.profile is not None, len(user.orders)) for user in users] == [(True, 1), (False, 2)]


def test_aliases_keep_their_filters(session: Session) -> None:
    people = aliased(User)
    statement = select(people).where(people.id == 3).options(eager(people.profile, people.orders, Order.items), strict())
    with expect(session, 3):
        user = session.scalars(statement).one()
    assert [len(order.items) for order in user.orders] == [2, 2, 2]


def test_what_the_statement_joins_and_contains(session: Session) -> None:
    statement = select(User).join(User.orders).where(Order.total > 215).options(contains_eager(User.orders)).order_by(User.id)
    with expect(session, 2):
        users = session.scalars(statement.options(eager(User.orders, Order.items), strict())).unique().all()
    assert [order.total for order in users[0].orders] == [220]


def test_columns_only(session: Session) -> None:
    with expect(session, 1):
        rows = session.execute(select(User.id, User.name).order_by(User.id).options(batched())).all()
    assert rows[0] == (1, "u1")
    with expect(session, 1):
        assert session.scalar(select(func.count()).select_from(User).options(strict())) == 6


def test_only_some_columns_of_an_entity(session: Session) -> None:
    statement = select(User).order_by(User.id).options(load_only(User.name), hybrid(eager=[User.orders]))
    users = session.scalars(statement).all()
    assert [len(user.orders) for user in users] == [1, 2, 3, 0, 1, 2]


def test_loader_criteria_hold(session: Session) -> None:
    small = with_loader_criteria(Order, Order.total < 215)
    for policy in (eager(User.orders), eager(User.orders, using="joined"), batched()):
        session.expunge_all()
        users = session.scalars(select(User).order_by(User.id).options(policy, small)).unique().all()
        assert [len(user.orders) for user in users] == [1, 1, 0, 0, 0, 0]


def test_criteria_that_change_are_not_mixed_up_by_the_statement_cache(session: Session) -> None:
    def totals(low: int) -> list[list[int]]:
        session.expunge_all()
        statement = select(User).order_by(User.id).options(eager(User.orders.and_(Order.total > low)), strict())
        return [[order.total for order in user.orders] for user in session.scalars(statement)]

    assert totals(215) == [[], [220], [330, 320, 310], [], [510], [620, 610]]
    assert totals(600) == [[], [], [], [], [], [620, 610]]
    assert totals(215) == [[], [220], [330, 320, 310], [], [510], [620, 610]]


def test_criteria_that_change_two_levels_deep(session: Session) -> None:
    def quantities(low: int, least: int) -> list[list[list[int]]]:
        session.expunge_all()
        paths = (User.orders.and_(Order.total > low), Order.items.and_(Item.quantity >= least))
        statement = select(User).order_by(User.id).options(eager(*paths), strict())
        found = session.scalars(statement).all()
        return [[[item.quantity for item in order.items] for order in user.orders] for user in found]

    assert quantities(600, 16) == [[], [], [], [], [], [[17, 18], [16]]]
    assert quantities(600, 18) == [[], [], [], [], [], [[18], []]]
    assert quantities(500, 18) == [[], [], [], [], [[]], [[18], []]]
    assert quantities(600, 16) == [[], [], [], [], [], [[17, 18], [16]]]


@pytest.mark.parametrize("using", ["joined", "subquery", "selectin"])
def test_criteria_that_change_under_each_strategy(session: Session, using: str) -> None:
    for low, count in ((600, 2), (0, 9), (300, 6)):
        session.expunge_all()
        policy = eager(User.orders.and_(Order.total > low), using=using)  # type: ignore[arg-type]
        users = session.scalars(select(User).options(policy, strict())).unique().all()
        assert sum(len(user.orders) for user in users) == count


def test_criteria_in_a_filter_and_a_path_keep_apart(session: Session) -> None:
    for number, low in ((6, 615), (3, 315), (6, 605)):
        session.expunge_all()
        statement = select(User).where(User.id == number).options(eager(User.orders.and_(Order.total > low)), strict())
        user = session.scalars(statement).one()
        assert [order.total for order in user.orders] == {615: [620], 315: [330, 320], 605: [620, 610]}[low]


def test_batched_continues_what_a_path_narrowed(session: Session) -> None:
    """What hangs on a narrowed path is loaded for its objects alone."""
    statement = select(User).options(eager(User.orders.and_(Order.total > 600)), batched())
    users = session.scalars(statement).all()
    with expect(session, 1):
        assert sum(len(order.items) for user in users for order in user.orders) == 4


def test_options_of_other_paths_do_not_matter(session: Session) -> None:
    statement = (
        select(User).order_by(User.id).options(selectinload(User.tags).selectinload(Tag.users), eager(User.orders), strict())
    )
    users = session.scalars(statement).all()
    assert [len(user.orders) for user in users] == [1, 2, 3, 0, 1, 2]
    with pytest.raises(NotLoaded):
        users[0].profile


def test_with_only_columns(session: Session) -> None:
    statement = select(User).options(eager(User.orders), strict()).with_only_columns(User).order_by(User.id)
    assert [len(user.orders) for user in session.scalars(statement)] == [1, 2, 3, 0, 1, 2]


def test_self_joins(session: Session) -> None:
    statement = select(Category).where(Category.id == 21).options(eager(Category.parent, Category.children), strict())
    with expect(session, 3):
        low = session.scalars(statement).one()
    assert low.parent is not None
    assert [each.id for each in low.parent.children] == [21, 22]


def test_one_to_one_from_both_sides(session: Session) -> None:
    with expect(session, 1):
        profiles = session.scalars(select(Profile).order_by(Profile.id).options(eager(Profile.user), strict())).all()
    with expect(session, 0):
        assert [profile.user.name for profile in profiles] == ["u1", "u3", "u5"]
