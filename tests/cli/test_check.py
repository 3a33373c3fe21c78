from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text
from typer.testing import CliRunner, Result

from dal.cli.app import app
from dal.embedded import EmbeddedServer
from dal.errors import ConfigError

MODELS = """
from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

class Base(DeclarativeBase):
    pass

class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    region: Mapped[int]

class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    seller_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)

class Line(Base):
    __tablename__ = "lines"
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A server that syncs to disk, as one in production does: dal_server does not, and check says so."""
    with EmbeddedServer(settings={"fsync": "on", "max_connections": "40"}) as server:
        yield server


@pytest.fixture
def shop(server: EmbeddedServer) -> Iterator[URL]:
    name = f"shop_{uuid.uuid4().hex[:8]}"
    yield server.create_database(name)
    server.drop_database(name)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return write(MODELS)


def write(code: str) -> str:
    name = f"models_{uuid.uuid4().hex}"
    Path(f"{name}.py").write_text(code)
    return f"{name}:Base"


def dal(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def shown(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def run(url: URL, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def create(url: URL, models: str) -> None:
    module, name = models.split(":")
    engine = create_engine(url)
    getattr(__import__(module), name).metadata.create_all(engine)
    engine.dispose()


def test_nothing_is_wrong(shop: URL, models: str) -> None:
    answer = dal("check", "--url", shown(shop))
    assert answer.exit_code == 0, answer.output
    assert answer.output.splitlines()[-1] == "nothing is wrong"
    assert str(shop.password) not in answer.output


def test_no_answer_is_the_problem() -> None:
    answer = dal("check", "--url", "postgresql+psycopg://app:geheim@127.0.0.1:1/shop")
    assert answer.exit_code == 1
    assert "the database does not answer" in answer.output
    assert "fix:" in answer.output
    assert "geheim" not in answer.output


def test_more_connections_than_the_server_takes(shop: URL, models: str) -> None:
    answer = dal("check", "--url", shown(shop), "--instances", "3")
    assert answer.exit_code == 1
    assert "3 instances of at most 20 connections are 60, but the server takes 37" in answer.output
    assert "max_pool_size: 12, or" in answer.output
    Path("database.yaml").write_text(f"database: {{url: '{shown(shop)}', connection_pool: {{max_pool_size: 12}}}}")
    assert dal("check", "--instances", "3").exit_code == 0
    Path("database.yaml").write_text(f"database: {{url: '{shown(shop)}', connection_pool: {{max_pool_size: 50}}}}")
    assert "max_pool_size is 50, but the server takes 37 connections" in dal("check").output


def test_sessions_that_the_server_cuts(shop: URL, models: str) -> None:
    run(shop, f"ALTER DATABASE {shop.database} SET idle_session_timeout = '20s'")
    answer = dal("check", "--url", shown(shop))
    assert answer.exit_code == 1
    assert "ends sessions that are idle for 20 s: it cuts the pool's connections" in answer.output
    run(shop, f"ALTER DATABASE {shop.database} SET idle_session_timeout = '5min'")
    assert dal("check", "--url", shown(shop)).exit_code == 0
    Path("database.yaml").write_text(f"database: {{url: '{shown(shop)}', connection_pool: {{test_while_idle: false}}}}")
    assert "fix:  test_while_idle: true" in dal("check").output


def test_foreign_keys_without_an_index(shop: URL, models: str) -> None:
    create(shop, models)
    answer = dal("check", "--url", shown(shop), "--models", models)
    assert answer.exit_code == 1
    assert answer.output.count("problem ") == 1
    assert "no index serves the foreign key orders (user_id)" in answer.output
    fix = "CREATE INDEX CONCURRENTLY ON orders (user_id)"
    assert f"index=True on the column and a migration, or {fix}" in answer.output
    run(shop, "CREATE INDEX partial ON orders (user_id) WHERE seller_id > 7", "CREATE INDEX wrong ON orders (id, user_id)")
    run(shop, "CREATE INDEX brin ON orders USING brin (user_id)", "CREATE INDEX expression ON orders ((user_id + 1), user_id)")
    assert dal("check", "--url", shown(shop), "--models", models).exit_code == 1
    run(shop, fix)
    answer = dal("check", "--url", shown(shop), "--models", models)
    assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize("index", ["(user_id, id)", "USING hash (user_id)", "(user_id) WHERE user_id IS NOT NULL"])
def test_indexes_that_serve(shop: URL, models: str, index: str) -> None:
    create(shop, models)
    run(shop, f"CREATE INDEX serving ON orders {index}")
    answer = dal("check", "--url", shown(shop), "--models", models)
    assert answer.exit_code == 0, answer.output


def test_a_key_of_two_columns(shop: URL, models: str) -> None:
    both = write(
        MODELS
        + """
class Note(Base):
    __tablename__ = "notes"
    __table_args__ = (ForeignKeyConstraint(["order_id", "line"], ["lines.order_id", "lines.number"]),)
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int]
    line: Mapped[int]
"""
    )
    create(shop, both)
    run(shop, "CREATE INDEX ON orders (user_id)", "CREATE INDEX ON notes (order_id)")
    answer = dal("check", "--url", shown(shop), "--models", both)
    assert "no index serves the foreign key notes (order_id, line)" in answer.output
    assert "Index(None, 'order_id', 'line')" in answer.output
    run(shop, "CREATE INDEX ON notes (line, order_id, id)")
    assert dal("check", "--url", shown(shop), "--models", both).exit_code == 0


def test_a_table_that_is_not_there(shop: URL, models: str) -> None:
    create(shop, models)
    run(shop, "CREATE INDEX ON orders (user_id)", "DROP TABLE lines")
    answer = dal("check", "--url", shown(shop), "--models", models)
    assert answer.exit_code == 1
    assert "the table lines is mapped, but not in the database" in answer.output


def test_a_mapping_that_does_not_hold_together(shop: URL, models: str) -> None:
    broken = write(MODELS.replace("    region: Mapped[int]", '    orders = relationship("Ordre")'))
    create(shop, broken)
    run(shop, "CREATE INDEX ON orders (user_id)")
    answer = dal("check", "--url", shown(shop), "--models", broken)
    assert answer.exit_code == 1
    assert "the mapping does not hold together" in answer.output
    assert "Ordre" in answer.output


@pytest.mark.parametrize(
    ("name", "told"), [("shop", "not accepted"), ("no_such:Base", "cannot be imported"), ("os:path", "no 'path'")]
)
def test_models_that_are_none(shop: URL, models: str, name: str, told: str) -> None:
    answer = dal("check", "--url", shown(shop), "--models", name)
    assert isinstance(answer.exception, ConfigError)
    assert told in str(answer.exception)


def test_migrations_that_are_not_applied(shop: URL, models: str) -> None:
    url = shown(shop)
    assert dal("migrate", "init", "--metadata", models).exit_code == 0
    answer = dal("check", "--url", url)
    assert answer.exit_code == 1
    assert "table users is in the models, not in the database\n    fix:  dal migrate new" in answer.output
    assert dal("migrate", "new", "create tables", "--url", url).exit_code == 0
    answer = dal("check", "--url", url)
    assert "create tables is not applied\n    fix:  dal migrate up" in answer.output
    assert dal("migrate", "up", "--url", url).exit_code == 0
    assert dal("check", "--url", url).exit_code == 0
    next(Path("migrations/versions").glob("*.py")).unlink()
    answer = dal("check", "--url", url)
    assert answer.exit_code == 1
    assert "for which migrations has no file" in answer.output
    assert isinstance(dal("check", "--url", url, "--folder", "nowhere").exception, ConfigError)


def test_sqlite(models: str) -> None:
    create(URL.create("sqlite", database="shop.db"), models)
    assert dal("check", "--url", "sqlite:///shop.db").exit_code == 0
    answer = dal("check", "--url", "sqlite:///shop.db", "--models", models)
    assert answer.exit_code == 1
    assert "CREATE INDEX ix_orders_user_id ON orders (user_id)" in answer.output
    run(URL.create("sqlite", database="shop.db"), "CREATE INDEX ix_orders_user_id ON orders (user_id)")
    assert dal("check", "--url", "sqlite:///shop.db", "--models", models).exit_code == 0
