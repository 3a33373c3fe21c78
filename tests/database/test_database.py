"""Database and AsyncDatabase: one suite where the doors are alike, on SQLite and PostgreSQL."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, ForeignKey, event, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, InternalError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import QueuePool

from dal import (
    AsyncDatabase,
    ConfigError,
    ConnectFailed,
    ConnectionPool,
    DalError,
    Database,
    DatabaseConfig,
    PolicyConfig,
    PoolConfig,
    PoolTimeout,
    UsageError,
    batched,
    eager,
)
from dal.testing import count_statements


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    orders: Mapped[list[Order]] = relationship(order_by="Order.id")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


def fill(session: Session) -> None:
    session.add_all(User(id=number, name=f"n{number}", orders=[Order(), Order()]) for number in range(1, 6))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    if request.param == "postgresql":
        found: URL = request.getfixturevalue("dal_database")
        return found
    return URL.create("sqlite", database=str(tmp_path / "shop.db"))


@pytest.fixture
def db(url: URL) -> Iterator[Database]:
    with Database(url, pool=PoolConfig(min_pool_size=1, max_pool_size=3)) as db:
        Base.metadata.create_all(db.engine)
        db.run(fill)
        yield db


def add_user(session: Session, number: int) -> str:
    session.add(User(id=number, name=f"n{number}"))
    session.flush()
    return f"n{number}"


def names(session: Session) -> list[str]:
    return list(session.scalars(select(User.name).order_by(User.id)))


def test_it_hands_out_sqlalchemy(db: Database) -> None:
    assert isinstance(db.engine, Engine)
    with db.session() as session:
        assert type(session).__mro__[-2:] == Session.__mro__[-2:]
        assert isinstance(session, Session)
        assert session.get_bind() is db.engine


def test_the_caller_of_a_session_commits(db: Database) -> None:
    with db.session() as session:
        add_user(session, 6)
    with db.session() as session:
        assert len(names(session)) == 5


def test_a_transaction_commits_or_rolls_back(db: Database) -> None:
    with db.transaction() as session:
        add_user(session, 6)
    with pytest.raises(ZeroDivisionError), db.transaction() as session:
        add_user(session, 7)
        1 / 0
    with db.session() as session:
        assert names(session)[-1] == "n6"


def test_run_gives_the_result_and_commits(db: Database) -> None:
    assert db.run(add_user, 6) == "n6"
    assert db.run(add_user, number=7) == "n7"
    assert len(db.run(names)) == 7


def test_run_rolls_back_on_an_error(db: Database) -> None:
    with pytest.raises(IntegrityError):
        db.run(add_user, 1)
    assert len(db.run(names)) == 5


def test_transactional_with_and_without_parentheses(db: Database) -> None:
    @db.transactional
    def add(session: Session, number: int) -> str:
        """Add a user."""
        return add_user(session, number)

    @db.transactional(read_only=True)
    def count(session: Session) -> int:
        return len(names(session))

    assert (add(6), count()) == ("n6", 6)
    assert (add.__name__, add.__doc__) == ("add", "Add a user.")


def test_a_unit_inside_a_unit_joins_it(db: Database) -> None:
    @db.transactional
    def inner(session: Session) -> Session:
        add_user(session, 8)
        return session

    def outer(session: Session) -> bool:
        joined = inner() is session and db.run(lambda same: same is session)
        if joined:
            raise KeyError("roll back both")
        return joined

    with pytest.raises(KeyError):
        db.run(outer)
    assert len(db.run(names)) == 5


def test_units_of_two_databases_do_not_join(db: Database, tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path}/other.db") as other:
        assert db.run(lambda session: other.run(lambda inner: inner is not session))


def test_a_read_only_unit_lets_the_server_refuse_writes(db: Database) -> None:
    with pytest.raises((OperationalError, InternalError), match="(?i)read-?only"):
        db.unit(read_only=True).run(add_user, 6)
    assert len(db.unit(read_only=True).run(names)) == 5
    assert db.run(add_user, 6) == "n6", "the next unit on the same connection may write"


def test_a_writing_unit_inside_a_read_only_one_is_told(db: Database) -> None:
    with pytest.raises(UsageError, match="inside a read-only one"):
        db.unit(read_only=True).run(lambda _: db.run(names))


def test_isolation(db: Database) -> None:
    def level(session: Session) -> str:
        return session.connection().get_isolation_level()

    assert db.unit(isolation="SERIALIZABLE").run(level) == "SERIALIZABLE"
    with pytest.raises(UsageError, match="SERIALIZABLE"):
        db.run(lambda _: db.unit(isolation="SERIALIZABLE").run(level))


def test_an_unknown_isolation_level_is_told_before_anything_runs(db: Database) -> None:
    with count_statements(db.engine) as sent, pytest.raises(UsageError, match="isolation='SERIAL'") as caught:
        db.unit(isolation="SERIAL")  # type: ignore[arg-type]
    assert "SERIALIZABLE" in caught.value.hint
    assert sent.count == 0


def test_a_default_policy_and_the_ones_nearer(url: URL) -> None:
    with Database(url, policy=batched()) as db:
        Base.metadata.create_all(db.engine)
        db.run(fill)
        with db.session() as session, count_statements(db.engine) as sent:
            for user in session.scalars(select(User)):
                assert len(user.orders) == 2
        assert sent.count == 2
        with db.session() as session, count_statements(db.engine) as sent:
            users = session.scalars(select(User).options(eager(User.orders))).all()
        assert (len(users), sent.count) == (5, 2)


def test_policies_by_name_and_bind(url: URL) -> None:
    config = DatabaseConfig(url=url, policies={"page": PolicyConfig(eager=("User.orders",), otherwise="lazy")}, policy="page")
    with Database(config) as db:
        Base.metadata.create_all(db.engine)
        db.run(fill)
        with Session(db.engine) as session, count_statements(db.engine) as sent:
            users = db.bind(session).scalars(select(User)).all()
            assert [len(user.orders) for user in users] == [2] * 5
        assert sent.count == 2


def test_an_unknown_default_policy_is_refused() -> None:
    with pytest.raises(UsageError, match="policy='page' is not known") as caught:
        Database("sqlite://", policy="page", policies={"pages": batched()})
    assert "did you mean 'pages'" in caught.value.hint


def test_nothing_connects_until_first_use() -> None:
    with Database("postgresql+psycopg://nobody@127.0.0.1:1/none"), Database("sqlite:////nowhere/at/all.db"):
        pass


def test_a_closed_database_says_so(db: Database) -> None:
    db.close()
    db.close()
    with pytest.raises(UsageError, match="is closed"):
        db.session()
    with pytest.raises(UsageError, match="is closed"):
        db.run(names)


def test_the_password_is_shown_nowhere() -> None:
    password = secrets.token_hex(8)  # not a literal: tracebacks show the lines of this file
    url = URL.create("postgresql+psycopg", "app", password, "127.0.0.1", 1, "shop")
    with Database(url, pool=PoolConfig(connection_timeout=0.2)) as db:
        assert password not in f"{db!r} {db.config!r} {db.url} {db.pool!r}"
        with pytest.raises(DalError) as caught, db.session() as session:
            session.scalar(text("SELECT 1"))
        assert password not in f"{caught.value} {caught.value.__cause__} {caught.getrepr(style='long')}"


def test_an_unreachable_port_is_named() -> None:
    with Database("postgresql+psycopg://app:s3cret@127.0.0.1:1/shop", pool=PoolConfig(connection_timeout=0.3)) as db:
        with pytest.raises(PoolTimeout, match=r"127\.0\.0\.1.*port 1.*refused") as caught:
            db.engine.connect()
        assert "is up" in caught.value.hint


def test_an_unknown_host_is_told_at_once() -> None:
    with Database("postgresql+psycopg://app@no-such-host.invalid/shop") as db:
        with pytest.raises(ConnectFailed, match="no-such-host.invalid") as caught:
            db.engine.connect()
        assert "host" in caught.value.hint


def test_a_sqlite_file_that_cannot_be_opened() -> None:
    with Database("sqlite:////nowhere/at/all.db") as db, pytest.raises(ConnectFailed, match="/nowhere/at/all.db"):
        db.run(lambda session: session.scalar(text("SELECT 1")))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "not a database URL"),
        ("oracul://host/db", "'oracul' is no dialect"),
        ("sqlite+aiosqlite://", "cannot be used by Database"),
    ],
)
def test_a_url_that_cannot_be_used(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Database(url)


def test_an_unknown_engine_option() -> None:
    with pytest.raises(ConfigError, match="engine_options.*ecko"):
        Database("sqlite://", engine_options={"ecko": True})


def test_session_options_reach_the_sessionmaker(url: URL) -> None:
    with Database(url, session_options={"expire_on_commit": False, "info": {"tenant": 7}}) as db, db.session() as session:
        assert session.expire_on_commit is False
        assert session.info["tenant"] == 7


def test_the_pool_settings_are_mapped(url: URL) -> None:
    pool = PoolConfig(min_pool_size=2, max_pool_size=5, connection_timeout="3s", max_lifetime="1m")
    with Database(url, pool=pool) as db:
        if url.get_backend_name() == "postgresql":
            assert isinstance(db.pool, ConnectionPool)
            assert db.pool.config == pool
        else:
            assert isinstance(db.pool, QueuePool)
            assert (db.pool.size(), db.pool._max_overflow, db.pool._timeout, db.pool._recycle) == (2, 3, 3.0, 60.0)


def test_from_env_and_from_file(tmp_path: Path) -> None:
    file = tmp_path / "database.toml"
    file.write_text("[database]\nurl = 'sqlite://'\n[database.connection_pool]\nmax_pool_size = 9\n")
    with Database.from_file(file) as db, Database.from_env({"DAL_URL": "sqlite://", "DAL_POOL__MAX_POOL_SIZE": "9"}) as same:
        assert db.config.pool.max_pool_size == same.config.pool.max_pool_size == 9


def test_embedded_is_a_real_postgresql(tmp_path: Path) -> None:
    with Database.embedded(tmp_path / "data", settings={"work_mem": "7MB"}) as db:
        assert db.run(lambda session: session.scalar(text("SHOW work_mem"))) == "7MB"
        assert "PostgreSQL 18" in str(db.run(lambda session: session.scalar(text("SELECT version()"))))


def test_the_examples_of_the_docstrings_run() -> None:
    code = (
        "import doctest, importlib, sys\n"
        "names = ['dal.database.database', 'dal.database.units', 'dal.asyncio.database']\n"
        "names += ['dal.config', 'dal.durations', 'dal.errors']\n"
        "names += ['dal.loading.makers', 'dal.loading.layers', 'dal.loading.allow']\n"
        "results = [doctest.testmod(importlib.import_module(name)) for name in names]\n"
        "sys.exit(any(r.failed for r in results) or sum(r.attempted for r in results) < 15)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stdout


# The async door.


@pytest.fixture
async def async_db(db: Database) -> AsyncDatabase:
    return AsyncDatabase(db.url, pool=PoolConfig(min_pool_size=1, max_pool_size=3))


async def add_user_async(session: AsyncSession, number: int) -> str:
    session.add(User(id=number, name=f"n{number}"))
    await session.flush()
    return f"n{number}"


async def names_async(session: AsyncSession) -> list[str]:
    return list(await session.scalars(select(User.name).order_by(User.id)))


async def test_the_async_door(async_db: AsyncDatabase) -> None:
    async with async_db as db:
        assert isinstance(db.engine, AsyncEngine)
        async with db.session() as session:
            assert isinstance(session, AsyncSession)
            await add_user_async(session, 6)
        assert len(await db.run(names_async)) == 5
        async with db.transaction() as session:
            await add_user_async(session, 6)
        assert await db.run(add_user_async, number=7) == "n7"
        with pytest.raises(IntegrityError):
            await db.run(add_user_async, 1)
        with pytest.raises((OperationalError, InternalError), match="(?i)read-?only"):
            await db.unit(read_only=True).run(add_user_async, 8)
        assert len(await db.run(names_async)) == 7
    with pytest.raises(UsageError, match="is closed"):
        db.session()


async def test_an_async_unit_inside_a_unit_joins_it(async_db: AsyncDatabase) -> None:
    async with async_db as db:

        @db.transactional
        async def inner(session: AsyncSession) -> AsyncSession:
            return session

        async def outer(session: AsyncSession) -> bool:
            return await inner() is session

        assert await db.run(outer)


async def test_an_async_default_policy(url: URL, db: Database) -> None:
    async with AsyncDatabase(url, policy=eager(User.orders)) as async_db, async_db.session() as session:
        users = (await session.scalars(select(User))).all()
        assert [len(user.orders) for user in users] == [2] * 5


def test_the_wrong_driver_for_the_async_door() -> None:
    with pytest.raises(ConfigError, match="cannot be used by AsyncDatabase"):
        AsyncDatabase("postgresql+psycopg2://localhost/shop")


async def test_async_embedded(tmp_path: Path) -> None:
    async with AsyncDatabase.embedded(tmp_path / "data") as db:
        async with db.session() as session:
            assert await session.scalar(text("SELECT 1")) == 1
        assert repr(db).startswith("AsyncDatabase(postgresql+psycopg://")


def test_events_of_sqlalchemy_work_as_ever(db: Database) -> None:
    seen: list[str] = []
    event.listen(db.sessions, "after_commit", lambda _: seen.append("commit"))
    db.run(add_user, 6)
    assert seen == ["commit"]
