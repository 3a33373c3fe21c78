"""Which policy answers: statement > query > repository > using_policy > database > mapping, attribute by attribute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import (
    DeclarativeBase,
    Load,
    Mapped,
    Session,
    defer,
    joinedload,
    lazyload,
    mapped_column,
    raiseload,
    relationship,
    selectinload,
    sessionmaker,
)
from sqlalchemy.sql.base import ExecutableOption

from dal import Database, Policy, Repository, batched, eager, hybrid, lazy, strict, using_policy
from dal.config import DatabaseConfig, PolicyConfig
from dal.errors import NotLoaded, UsageError
from dal.loading import Policies
from tests.loading.counting import expect
from tests.loading.models import Item, Order, Product, User

BATCHED, LAZY = 1, 6


@contextmanager
def layered(engine: Engine, **layers: Policy) -> Iterator[tuple[Session, Callable[[], list[User]]]]:
    """Give a session and a read of all users with a policy in each of the named layers."""
    maker = sessionmaker(engine, info=dict(Policies.of(layers.get("database"), {}).info()))
    with ExitStack() as stack:
        session = stack.enter_context(maker())
        if "block" in layers:
            stack.enter_context(using_policy(layers["block"]))
        statement = select(User).order_by(User.id)
        if "statement" in layers:
            statement = statement.options(layers["statement"])
        users = Repository(session, User, policy=layers.get("repository"))
        yield session, lambda: list(users.list(statement, policy=layers.get("query")))


ORDER = ["statement", "query", "repository", "block", "database"]


@pytest.mark.parametrize("far", range(1, len(ORDER)))
def test_the_nearer_layer_wins(shop_engine: Engine, far: int) -> None:
    near = ORDER[far - 1]
    with layered(shop_engine, **{near: batched(), ORDER[far]: lazy()}) as (session, read):
        users = read()
        with expect(session, BATCHED):
            assert [len(user.orders) for user in users] == [1, 2, 3, 0, 1, 2]
    with layered(shop_engine, **{near: lazy(), ORDER[far]: batched()}) as (session, read):
        users = read()
        with expect(session, LAZY):
            assert [len(user.orders) for user in users] == [1, 2, 3, 0, 1, 2]


@pytest.mark.parametrize("layer", ORDER)
def test_every_layer_alone(shop_engine: Engine, layer: str) -> None:
    with layered(shop_engine, **{layer: eager(User.orders)}) as (session, read):
        with expect(session, 2):
            users = read()
        with expect(session, 0):
            assert sum(len(user.orders) for user in users) == 9
        with expect(session, LAZY):
            assert sum(len(user.tags) for user in users) == 6


@pytest.mark.parametrize("far", range(1, len(ORDER)))
def test_paths_of_a_near_layer_and_the_otherwise_of_a_far_one(shop_engine: Engine, far: int) -> None:
    with layered(shop_engine, **{ORDER[far - 1]: eager(User.orders), ORDER[far]: batched()}) as (session, read):
        with expect(session, 2):
            users = read()
        with expect(session, 1):
            assert [[order.total for order in user.orders] for user in users][1] == [220, 210]
            assert sum(len(user.tags) for user in users) == 6


def test_paths_of_all_layers_add_up_until_one_has_an_otherwise(shop_engine: Engine) -> None:
    with layered(
        shop_engine,
        statement=eager(User.orders),
        query=eager(User.tags),
        repository=hybrid(eager=[User.big_orders], otherwise=strict()),
        block=eager(User.profile),
    ) as (session, read):
        with expect(session, 4):
            users = read()
        for user in users:
            user.orders, user.tags, user.big_orders
            with pytest.raises(NotLoaded):
                user.profile


def test_the_statements_own_options_win(session: Session) -> None:
    statement = select(User).order_by(User.id).options(joinedload(User.orders))
    # The orders are joined, as the statement says; the items hang on them, as the policy says.
    with expect(session, 2) as seen:
        users = session.scalars(statement.options(eager(User.orders, Order.items, using="selectin"))).unique().all()
    assert "JOIN orders" in seen.statements[0]
    with expect(session, 0):
        assert sum(len(order.items) for user in users for order in user.orders) == 18


def test_the_statements_own_lazyload_wins_over_paths_and_otherwise(session: Session) -> None:
    statement = select(User).order_by(User.id).options(lazyload(User.orders))
    users = session.scalars(statement.options(hybrid(eager=[User.orders]))).all()
    with expect(session, LAZY):
        assert sum(len(user.orders) for user in users) == 9
    with expect(session, BATCHED):
        assert sum(len(user.tags) for user in users) == 6


def test_the_statements_own_raiseload_wins(session: Session) -> None:
    users = session.scalars(select(User).options(raiseload(User.orders), batched())).all()
    with pytest.raises(Exception, match="raise"):
        users[0].orders


def test_the_statements_own_wildcard_wins(session: Session) -> None:
    users = session.scalars(select(User).order_by(User.id).options(raiseload("*"), batched())).all()
    with expect(session, 0), pytest.raises(Exception, match="raise"):
        users[0].orders
    session.expunge_all()
    users = session.scalars(select(User).order_by(User.id).options(selectinload("*"), batched())).all()
    with expect(session, 0):
        assert sum(len(user.orders) + len(user.tags) for user in users) == 15


@pytest.mark.parametrize("everything", [lazyload("*"), Load(User).lazyload("*")], ids=["statement", "class"])
@pytest.mark.parametrize("policy", [batched(), strict()], ids=str)
def test_the_statements_own_lazy_wildcard_wins_for_relationships(
    session: Session, everything: ExecutableOption, policy: Policy
) -> None:
    for _ in range(2):
        users = session.scalars(select(User).order_by(User.id).options(everything, policy)).all()
        with expect(session, LAZY):
            assert sum(len(user.orders) for user in users) == 9
        session.expunge_all()
    users = session.scalars(select(User).order_by(User.id).options(policy)).all()
    with expect(session, BATCHED) if policy.mode == batched().mode else pytest.raises(NotLoaded):
        assert sum(len(user.orders) for user in users) == 9


def test_a_lazy_wildcard_leaves_columns_to_the_policy(session: Session) -> None:
    users = session.scalars(select(User).options(defer(User.name), lazyload("*"), batched())).all()
    with expect(session, 1):
        assert all(user.name for user in users)


def test_eager_over_strict(shop_engine: Engine) -> None:
    with layered(shop_engine, query=eager(User.orders), database=strict()) as (_, read):
        users = read()
        assert len(users[0].orders) == 1
        with pytest.raises(NotLoaded):
            users[0].profile


def test_a_default_is_silent_about_what_a_statement_does_not_select(shop_engine: Engine) -> None:
    default = hybrid(eager=[User.orders, Order.items], otherwise=batched())
    with Session(shop_engine, info=dict(Policies.of(default, {}).info())) as session:
        with expect(session, 1):
            session.scalars(select(Product)).all()
        session.expunge_all()
        with expect(session, 2):
            session.scalars(select(Order)).all()
        with using_policy(eager(Item.product)), expect(session, 3):
            session.scalars(select(User).execution_options(populate_existing=True)).all()


def test_a_block_around_textual_sql(session: Session) -> None:
    textual = text("SELECT id, name FROM users WHERE id < 4 ORDER BY id")
    with using_policy(batched()):
        users = session.scalars(select(User).from_statement(textual)).all()
        session.execute(insert(Product).values(id=500, name="p").returning(Product))
    with expect(session, BATCHED):
        assert [len(user.orders) for user in users] == [1, 2, 3]


def test_blocks_nest_and_end(session: Session) -> None:
    def read() -> Sequence[User]:
        return session.scalars(select(User).order_by(User.id)).all()

    with using_policy(batched()):
        with using_policy(strict()):
            with pytest.raises(NotLoaded):
                read()[0].tags
            session.expunge_all()
        users = read()
        with expect(session, BATCHED):
            [user.tags for user in users]
        session.expunge_all()
    users = read()
    with expect(session, LAZY):
        [user.tags for user in users]


def test_a_block_ends_with_an_exception(session: Session) -> None:
    with pytest.raises(ZeroDivisionError), using_policy(strict()):
        1 / 0
    assert session.scalars(select(User)).all()[0].orders is not None


class _Base(DeclarativeBase): ...


class Eager(_Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    orders: Mapped[list[EagerOrder]] = relationship(
        primaryjoin="Eager.id == foreign(EagerOrder.user_id)", lazy="selectin", viewonly=True
    )


class EagerOrder(_Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int]


@pytest.mark.parametrize(("policy", "at_once"), [(None, 2), (lazy(), 1), (batched(), 1), (strict(), 1), (eager(), 2)])
def test_the_mapping_is_the_last_layer(session: Session, policy: Policy | None, at_once: int) -> None:
    statement = select(Eager) if policy is None else select(Eager).options(policy)
    with expect(session, at_once):
        session.scalars(statement).all()


@pytest.fixture
def database(shop_url: URL) -> Iterator[Database]:
    config = DatabaseConfig(
        url=shop_url,
        policies={
            "page": PolicyConfig(eager=("User.orders", "Order.items"), otherwise="strict"),
            "deep": PolicyConfig(eager=(("User.orders", "Order.items", "Item.product"),), otherwise="page"),
            "plain": PolicyConfig(otherwise="batched"),
        },
        policy="plain",
    )
    with Database(config) as database:
        yield database


def test_names_from_the_configuration(database: Database) -> None:
    with database.session() as session:
        users = Repository(session, User)
        with expect(session, 3):
            found = users.list(policy="page")
        assert sum(len(order.items) for user in found for order in user.orders) == 18
        with pytest.raises(NotLoaded, match=r"User\.profile"):
            found[0].profile
    with database.session() as session, expect(session, 3):
        # The product is joined to the items.
        found = Repository(session, User).list(policy="deep")
        assert {item.product.name for user in found for order in user.orders for item in order.items} == {"p1", "p2"}


def test_the_databases_default_is_for_plain_sqlalchemy_too(database: Database) -> None:
    with database.session() as session:
        users = session.scalars(select(User)).all()
        with expect(session, BATCHED):
            [user.orders for user in users]
    with database.session() as session:
        users = session.query(User).all()
        with expect(session, BATCHED):
            [user.orders for user in users]


def test_a_name_for_a_block_and_a_repository(database: Database) -> None:
    class Users(Repository[User]):
        policy = "page"

    with database.session() as session, expect(session, 3):
        Users(session).list()
    with database.session() as session, using_policy("page"), expect(session, 3):
        session.scalars(select(User)).all()


def test_unknown_names_are_refused_with_the_known_ones(database: Database) -> None:
    with database.session() as session, expect(session, 0):
        with pytest.raises(UsageError, match=r"(?s)'pge' is not known.*did you mean 'page'.*deep, page, plain"):
            Repository(session, User).list(policy="pge")
        with using_policy("nothing"), pytest.raises(UsageError, match="known policies: deep, page, plain"):
            session.scalars(select(User)).all()


def test_names_need_a_database_that_knows_them(session: Session) -> None:
    with expect(session, 0), pytest.raises(UsageError, match=r"(?s)knows no policies by name.*db\.bind\(session\)"):
        Repository(session, User).list(policy="page")


def test_an_application_s_session_learns_names_by_bind(database: Database, session: Session) -> None:
    database.bind(session)
    with expect(session, 3):
        Repository(session, User).list(policy="page")


def test_get_and_refresh_use_the_layers(shop_engine: Engine) -> None:
    with layered(shop_engine, database=hybrid(eager=[User.orders])) as (session, _):
        with expect(session, 2):
            user = session.get_one(User, 2)
        with expect(session, 0):
            assert len(user.orders) == 2


def test_what_is_no_policy(session: Session) -> None:
    users = Repository(session, User)
    wrong: list[Any] = [batched, 3, User.orders, selectinload(User.orders)]
    for each in wrong:
        with expect(session, 0), pytest.raises(UsageError, match="not a loading policy"):
            users.list(policy=each)
        with pytest.raises(UsageError, match="not a loading policy"), using_policy(each):
            pass
    with pytest.raises(UsageError, match=r"write batched\(\)"):
        users.list(policy=batched)  # type: ignore[arg-type]
