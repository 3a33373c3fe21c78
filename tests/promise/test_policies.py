"""The promised lines of loading policies, as a user writes them, through both doors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, selectinload, sessionmaker

from dal import (
    AsyncDatabase,
    AsyncRepository,
    Database,
    DatabaseConfig,
    NotLoaded,
    Policy,
    PolicyConfig,
    Repository,
    batched,
    eager,
    hybrid,
    lazy,
    strict,
    using_policy,
)
from dal.testing import count_statements
from tests.promise.models import USERS, Category, Item, Order, User

PAGE = {"profile_page": PolicyConfig(eager=("User.profile", "User.orders"), otherwise="batched")}


@pytest.fixture
def session(db: Database) -> Iterator[Session]:
    with db.session() as session:
        yield session


@pytest.fixture
async def async_session(async_db: AsyncDatabase) -> AsyncIterator[AsyncSession]:
    async with async_db.session() as session:
        yield session


def orders_of(users: list[User]) -> int:
    return sum(len(user.orders) for user in users)


def products_of(users: list[User]) -> set[str]:
    return {item.product.name for user in users for order in user.orders for item in order.items}


# The statements of a list with each policy: of the list itself, and of a walk over all orders afterwards.
BY_POLICY = [
    pytest.param(lambda: lazy(), 1, USERS, id="lazy"),
    pytest.param(lambda: batched(), 1, 1, id="batched"),
    pytest.param(lambda: eager(User.orders, Order.items, Item.product), 3, 0, id="eager"),
    pytest.param(lambda: eager(User.orders, using="joined"), 1, 0, id="joined"),
    pytest.param(lambda: eager(User.orders, using="selectin"), 2, 0, id="selectin"),
    pytest.param(lambda: eager(User.orders, using="subquery"), 2, 0, id="subquery"),
    pytest.param(lambda: hybrid(eager=[User.profile], otherwise=batched()), 1, 1, id="hybrid"),
]


@pytest.mark.parametrize(("policy", "at_once", "walking"), BY_POLICY)
def test_a_policy_of_a_query(session: Session, policy: Callable[[], Policy], at_once: int, walking: int) -> None:
    users = Repository(session, User)
    with count_statements(session) as sent:
        found = users.list(policy=policy())
    assert sent.count == at_once
    with count_statements(session) as sent:
        assert orders_of(found) == USERS * 2
    assert sent.count == walking


@pytest.mark.parametrize(("policy", "at_once", "walking"), BY_POLICY)
async def test_a_policy_of_an_async_query(
    async_session: AsyncSession, policy: Callable[[], Policy], at_once: int, walking: int
) -> None:
    users = AsyncRepository(async_session, User)
    with count_statements(async_session) as sent:
        found = await users.list(policy=policy())
    assert sent.count == at_once
    with count_statements(async_session) as sent:
        assert await async_session.run_sync(lambda _: orders_of(found)) == USERS * 2
    assert sent.count == walking


def test_eager_reaches_the_third_level(session: Session) -> None:
    users = Repository(session, User)
    found = users.list(policy=eager(User.orders, Order.items, Item.product))
    with count_statements(session) as sent:
        assert products_of(found) == {"tea", "cup"}
    assert sent.count == 0


def test_a_tree_by_path_and_by_depth(session: Session) -> None:
    categories = Repository(session, Category)
    top = Category.id == 100
    with count_statements(session) as sent:
        (root,) = categories.list(top, policy=eager((Category.children, Category.children)))
        assert [len(child.children) for child in root.children] == [1, 2]
    assert sent.count == 3
    session.expunge_all()
    with count_statements(session) as sent:
        (root,) = categories.list(top, policy=eager(Category.children, depth=3))
        assert [len(each.children) for child in root.children for each in child.children] == [2, 0, 0]
    assert sent.count == 4


def test_strict_refuses_and_names_the_fix(session: Session) -> None:
    user = Repository(session, User).list(policy=strict())[0]
    with count_statements(session) as sent, pytest.raises(NotLoaded, match=r"User\.orders") as refused:
        user.orders
    assert "policy=eager(User.orders)" in refused.value.hint
    assert sent.count == 0


async def test_strict_refuses_and_names_the_fix_through_the_async_door(async_session: AsyncSession) -> None:
    user = (await AsyncRepository(async_session, User).list(policy=strict()))[0]
    with pytest.raises(NotLoaded, match=r"User\.orders") as refused:
        user.orders
    assert "policy=eager(User.orders)" in refused.value.hint


def test_a_policy_is_an_orm_option(url: URL, session: Session) -> None:
    with count_statements(session) as sent:
        assert orders_of(list(session.scalars(select(User).options(batched())))) == USERS * 2
    assert sent.count == 2


async def test_a_policy_is_an_orm_option_through_the_async_door(async_session: AsyncSession) -> None:
    with count_statements(async_session) as sent:
        found = list(await async_session.scalars(select(User).options(batched())))
        await async_session.run_sync(lambda _: orders_of(found))
    assert sent.count == 2


def test_the_default_of_an_application_and_a_block(url: URL) -> None:
    with Database(url, policy=batched()) as db, db.session() as session:
        with count_statements(session) as sent:
            assert orders_of(list(session.scalars(select(User)))) == USERS * 2
        assert sent.count == 2
        session.expunge_all()
        with using_policy(strict()):
            user = session.scalars(select(User)).first()
            with pytest.raises(NotLoaded):
                user.orders  # type: ignore[union-attr]
        session.expunge_all()
        with count_statements(session) as sent:
            found = Repository(session, User).list(policy=eager(User.orders))
            assert products_of(found) == {"tea", "cup"}
        assert sent.count == 4, "users, orders with them; items and products batched, by the default"


async def test_the_default_of_an_application_and_a_block_through_the_async_door(url: URL) -> None:
    async with AsyncDatabase(url, policy=batched()) as db, db.session() as session:
        with count_statements(session) as sent:
            found = list(await session.scalars(select(User)))
            assert await session.run_sync(lambda _: orders_of(found)) == USERS * 2
        assert sent.count == 2
        session.expunge_all()
        with using_policy(strict()):
            user = (await session.scalars(select(User))).first()
            with pytest.raises(NotLoaded):
                user.orders  # type: ignore[union-attr]


def test_by_name(url: URL) -> None:
    with Database(DatabaseConfig(url=url, policies=PAGE)) as db:
        with db.session() as session, count_statements(session) as sent:
            found = Repository(session, User).list(policy="profile_page")
            assert orders_of(found) + len({user.profile for user in found}) == USERS * 3
            assert sent.count == 2
        with db.session() as session, using_policy("profile_page"), count_statements(session) as sent:
            assert orders_of(list(session.scalars(select(User)))) == USERS * 2
            assert sent.count == 2
        with Session(db.engine) as own, count_statements(own) as sent:
            db.bind(own)
            orders_of(Repository(own, User).list(policy="profile_page"))
            assert sent.count == 2
        learned = sessionmaker(db.engine, info=db.policies.info())
        with learned() as own, count_statements(own) as sent:
            orders_of(Repository(own, User).list(policy="profile_page"))
            assert sent.count == 2


async def test_by_name_through_the_async_door(url: URL) -> None:
    async with AsyncDatabase(DatabaseConfig(url=url, policies=PAGE)) as db:
        async with db.session() as session:
            with count_statements(session) as sent:
                found = await AsyncRepository(session, User).list(policy="profile_page")
                assert orders_of(found) + len({user.profile for user in found}) == USERS * 3
            assert sent.count == 2
        async with AsyncSession(db.engine) as own:
            db.bind(own)
            assert orders_of(await AsyncRepository(own, User).list(policy="profile_page")) == USERS * 2
        learned = async_sessionmaker(db.engine, info=db.policies.info())
        async with learned() as own:
            assert orders_of(await AsyncRepository(own, User).list(policy="profile_page")) == USERS * 2


def test_the_nearest_wins(url: URL) -> None:
    class Users(Repository[User]):
        policy = strict()

    def touched(session: Session, *, policy: Policy | None = None, own: bool = False) -> int:
        """Return the statements of a list and a walk over all orders."""
        session.expunge_all()
        statement = select(User).options(selectinload(User.orders)) if own else select(User)
        with count_statements(session) as sent:
            orders_of(Users(session).list(statement, policy=policy))
        return sent.count

    with Database(url, policy=lazy()) as db, db.session() as session, using_policy(batched()):
        assert touched(session, own=True) == 2
        assert touched(session, policy=lazy()) == 1 + USERS
        with pytest.raises(NotLoaded):
            touched(session)
        Users.policy = None  # type: ignore[assignment]
        assert touched(session) == 2
