"""The promised lines of opening a database, as a user writes them, through both doors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import InternalError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from dal import AsyncDatabase, ConfigError, Database, DatabaseConfig, PoolConfig, Repository
from dal.embedded import EmbeddedServer
from dal.testing import count_statements
from tests.promise.conftest import made
from tests.promise.models import USERS, Base, Order, User, fill

YAML = """\
# database.yaml: this very shape must load (durations as 30s / 10m / 1h / 500ms or plain seconds)
database:
  url: postgresql+psycopg://app:${DB_PASSWORD}@localhost/shop
  connection_pool:
    min_pool_size: 5
    max_pool_size: 20
    connection_timeout: 30s
    idle_timeout: 10m
    max_lifetime: 1h
    validation_query: "SELECT 1"
    test_on_borrow: true
    test_while_idle: true
    retry_attempts: 3
    retry_delay: 1s
  policies:
    profile_page: {eager: [User.profile, User.orders], otherwise: batched}
"""
TOML = """\
[database]
url = "postgresql+psycopg://app:${DB_PASSWORD}@localhost/shop"

[database.connection_pool]
min_pool_size = 5
max_pool_size = 20
connection_timeout = "30s"
idle_timeout = "10m"
max_lifetime = "1h"
validation_query = "SELECT 1"
test_on_borrow = true
test_while_idle = true
retry_attempts = 3
retry_delay = "1s"

[database.policies]
profile_page = {eager = ["User.profile", "User.orders"], otherwise = "batched"}
"""
cart = [30, 40]


@pytest.fixture
def url(dal_database: URL) -> URL:
    return made(dal_database)


def place_order(session: Session, cart: list[int]) -> int:
    order = Order(user_id=1, total=sum(cart))
    session.add(order)
    session.flush()
    return order.total


async def place_order_async(session: AsyncSession, cart: list[int]) -> int:
    order = Order(user_id=1, total=sum(cart))
    session.add(order)
    await session.flush()
    return order.total


def sum_up(session: Session, cart: list[int]) -> int:
    return session.scalars(select(func.count()).select_from(User)).one() + sum(cart)


async def sum_up_async(session: AsyncSession, cart: list[int]) -> int:
    return (await session.scalars(select(func.count()).select_from(User))).one() + sum(cart)


def orders(session: Session) -> int:
    return Repository(session, Order).count()


def test_nothing_connects_until_first_use() -> None:
    with Database("postgresql+psycopg://app@localhost/shop") as db:
        assert (db.pool.stats().opened, db.pool.stats().size) == (0, 0)


@pytest.fixture
def in_a_folder_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Go to an empty folder and write a file there."""

    def write(name: str, content: str) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / name).write_text(content, encoding="utf-8")

    return write


@pytest.mark.parametrize(("content", "name"), [(YAML, "database.yaml"), (TOML, "database.toml")], ids=["yaml", "toml"])
async def test_the_very_file(
    in_a_folder_with: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, content: str, name: str
) -> None:
    in_a_folder_with(name, content)
    with EmbeddedServer(tcp=True) as server:
        monkeypatch.setenv("DB_PASSWORD", "s3/cr@t")
        monkeypatch.setenv("PGPORT", str(server.port))
        admin = create_engine(server.url(), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text("CREATE ROLE app LOGIN PASSWORD 's3/cr@t'"))
            connection.execute(text("CREATE DATABASE shop OWNER app"))
        admin.dispose()

        with Database.from_file(name) as db:
            Base.metadata.create_all(db.engine)
            db.run(fill)
            with db.session() as session, count_statements(session) as sent:
                assert session.scalar(text("SELECT current_user || ' ' || current_database()")) == "app shop"
                found = Repository(session, User).list(policy="profile_page")
                assert sum(len(user.orders) for user in found if user.profile) == USERS * 2
                assert sent.count == 3
            assert db.config.pool == PoolConfig(
                min_pool_size=5,
                max_pool_size=20,
                connection_timeout=30,
                idle_timeout=600,
                max_lifetime=3600,
                validation_query="SELECT 1",
                test_on_borrow=True,
                test_while_idle=True,
                retry_attempts=3,
                retry_delay=1,
            )
            assert db.pool.config == db.config.pool
        async with AsyncDatabase.from_file(name) as async_db, async_db.session() as async_session:
            assert await async_session.scalar(text("SELECT current_user || ' ' || current_database()")) == "app shop"


async def test_from_env(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAL_URL", url.render_as_string(hide_password=False))
    monkeypatch.setenv("DAL_POOL__MAX_POOL_SIZE", "7")
    with Database.from_env() as db:
        assert db.run(orders) == USERS * 2
        assert db.pool.config.max_pool_size == 7
    async with AsyncDatabase.from_env() as async_db, async_db.session() as session:
        assert await session.scalar(select(func.count()).select_from(Order)) == USERS * 2


def test_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Database.embedded() as db:
        assert "PostgreSQL" in db.run(lambda session: session.scalar(text("SELECT version()")))
        assert (tmp_path / ".dal" / "postgres").is_dir()


async def test_async_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with AsyncDatabase.embedded() as db, db.session() as session:
        assert "PostgreSQL" in str(await session.scalar(text("SELECT version()")))


def test_the_same_fields_by_the_same_names(url: URL) -> None:
    with Database(url, pool=PoolConfig(min_pool_size=5, idle_timeout="10m")) as db:
        assert (db.pool.config.min_pool_size, db.pool.config.idle_timeout) == (5, 600)


def test_sessions_transactions_and_units(db: Database) -> None:
    with db.session() as session:
        place_order(session, cart)
    assert db.run(orders) == USERS * 2, "the caller commits, and did not"
    with db.transaction() as session:
        place_order(session, cart)
    assert db.run(orders) == USERS * 2 + 1

    total = db.run(place_order, cart)
    assert total == 70
    total = db.unit(read_only=True, isolation="SERIALIZABLE", deadline="2s").run(sum_up, cart)
    assert total == USERS + 70

    @db.transactional
    def placed(session: Session, cart: list[int]) -> int:
        return place_order(session, cart)

    @db.transactional(read_only=True)
    def counted(session: Session) -> int:
        return orders(session)

    assert placed(cart) == 70
    assert counted() == USERS * 2 + 3
    with pytest.raises(ZeroDivisionError), db.transaction():
        db.run(lambda session: (placed(cart), 1 / 0))
    assert counted() == USERS * 2 + 3, "what is called inside a unit joins it"


async def test_sessions_transactions_and_units_through_the_async_door(async_db: AsyncDatabase) -> None:
    db = async_db
    async with db.session() as session:
        await place_order_async(session, cart)
    async with db.transaction() as session:
        await place_order_async(session, cart)

    total = await db.run(place_order_async, cart)
    assert total == 70
    total = await db.unit(read_only=True, isolation="SERIALIZABLE", deadline="2s").run(sum_up_async, cart)
    assert total == USERS + 70

    @db.transactional
    async def placed(session: AsyncSession, cart: list[int]) -> int:
        return await place_order_async(session, cart)

    @db.transactional(read_only=True)
    async def counted(session: AsyncSession) -> int | None:
        return await session.scalar(select(func.count()).select_from(Order))

    assert await placed(cart) == 70
    assert await counted() == USERS * 2 + 3


async def test_a_deadline_for_a_block(db: Database, async_db: AsyncDatabase) -> None:
    with db.deadline("2s"):
        assert db.run(orders) == USERS * 2
    with async_db.deadline("2s"):
        assert await async_db.run(sum_up_async, cart) == USERS + 70


async def test_fork_join_in_one_snapshot(db: Database, async_db: AsyncDatabase) -> None:
    users, dear = db.gather(select(User).where(User.active), select(Order).where(Order.total > 105))
    assert (len(users), [order.total for order in dear]) == (USERS - 1, [106, 107, 108, 109])
    users, dear = await async_db.gather(select(User).where(User.active), select(Order).where(Order.total > 105))
    assert (len(users), [order.total for order in dear]) == (USERS - 1, [106, 107, 108, 109])


async def test_reading_from_replicas_or_the_primary_where_there_is_none(db: Database, async_db: AsyncDatabase) -> None:
    with db.replica.session() as session:
        assert orders(session) == USERS * 2
        with pytest.raises(InternalError, match="read-only transaction"):
            place_order(session, cart)
    async with async_db.replica.session() as async_session:
        assert await sum_up_async(async_session, cart) == USERS + 70
        with pytest.raises(InternalError, match="read-only transaction"):
            await place_order_async(async_session, cart)


async def test_health(db: Database, async_db: AsyncDatabase) -> None:
    for health in (db.health(), await async_db.health()):
        assert health.ok
        assert health.latency is not None
        assert 0 < health.latency < 5
        assert str(health.server_version).split(".")[0].isdigit()
        assert health.in_recovery is False
        assert all(problem.what and problem.fix for problem in health.problems)


def test_what_sqlite_cannot_do_is_told_by_name(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path}/shop.db", pool=PoolConfig(idle_timeout="1m", test_while_idle=False)) as db:
        told = " ".join(problem.what for problem in db.health().problems)
    assert "idle_timeout" in told
    assert "test_while_idle" in told


async def test_the_numbers_of_the_pool(db: Database, async_db: AsyncDatabase) -> None:
    db.run(orders)
    await async_db.run(sum_up_async, cart)
    for stats in (db.pool.stats(), async_db.pool.stats()):
        assert (stats.size, stats.idle, stats.in_use, stats.waiting) == (1, 1, 0, 0)
        assert (stats.opened, stats.closed, stats.failed_checks) == (1, 0, 0)
        assert 0 <= stats.wait.p50 <= stats.wait.p95 <= stats.wait.p99


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"min_pool_size": -1}, "min_pool_size: -1"),
        ({"min_pool_size": 3, "max_pool_size": 2}, "min_pool_size: 3 is more than max_pool_size: 2"),
        ({"idle_timeout": "soon"}, "idle_timeout: 'soon'"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        PoolConfig(**settings)  # type: ignore[arg-type]
    assert refused.value.hint


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "database.yaml"
    file.write_text("database: {url: 'sqlite://', connection_pool: {pool_size: 7}}")
    with pytest.raises(ConfigError, match=r"connection_pool\.pool_size: unknown key \(with the value 7\)") as refused:
        DatabaseConfig.from_file(file)
    assert "max_pool_size" in refused.value.hint
