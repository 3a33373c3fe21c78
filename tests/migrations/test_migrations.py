from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import StaticPool, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from dal.errors import ConfigError, ConnectFailed, DalError, UsageError
from dal.migrations import Difference, Migrations, init

if TYPE_CHECKING:
    from tests.migrations.conftest import Application

MORE = """    name: Mapped[str | None] = mapped_column(index=True)


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
"""


on_sqlite = pytest.mark.parametrize("application", ["sqlite"], indirect=True)


def tables(application: Application) -> set[str]:
    engine = create_engine(application.url)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_a_schema_walks_up_and_down(application: Application) -> None:
    migrations = Migrations(application.url)
    assert not migrations.status().current

    created = migrations.new("create users")
    assert created is not None
    assert created.path.is_file()
    assert migrations.status().pending == (created,)

    assert migrations.up() == [created]
    assert tables(application) == {"users", "alembic_version"}
    assert migrations.status().current == (created.id,)
    assert migrations.status().up_to_date
    assert migrations.up() == []

    assert migrations.down() == [created]
    assert tables(application) == {"alembic_version"}


def test_reading_writes_nothing(application: Application) -> None:
    migrations = Migrations(application.url)
    migrations.status()
    migrations.check()
    migrations.new("create users")
    assert tables(application) == set()


def test_check_says_what_differs(application: Application) -> None:
    migrations = Migrations(application.url)
    assert [str(difference) for difference in migrations.check()] == ["table users is in the models, not in the database"]
    migrations.new("create users")
    assert [difference.kind for difference in migrations.check()] == ["pending"]
    migrations.up()
    assert migrations.check() == []

    application.write_models(application.models.replace("email: Mapped[str]", "email: Mapped[str | None]") + MORE)
    assert {str(difference) for difference in migrations.check()} == {
        "table orders is in the models, not in the database",
        "column users.name is in the models, not in the database",
        "index ix_users_name on users is in the models, not in the database",
        "nullable of column users.email: True in the models, False in the database",
    }
    application.write_models("from sqlalchemy.orm import DeclarativeBase\n\n\nclass Base(DeclarativeBase):\n    pass\n")
    assert Difference("remove_table", "table users is in the database, not in the models") in migrations.check()


def test_what_dal_makes_for_itself_is_no_difference(application: Application) -> None:
    migrations = Migrations(application.url)
    migrations.new("create users")
    migrations.up()
    engine = create_engine(application.url)
    with engine.begin() as connection:
        for name in ("dal_jobs", "procrastinate_jobs", "leftover"):
            connection.execute(text(f"CREATE TABLE {name} (id integer PRIMARY KEY)"))
    engine.dispose()
    assert [str(difference) for difference in migrations.check()] == ["table leftover is in the database, not in the models"]


def test_new_writes_no_file_where_nothing_differs(application: Application) -> None:
    migrations = Migrations(application.url)
    migrations.new("create users")
    migrations.up()
    before = sorted(Path("migrations/versions").iterdir())
    assert migrations.new("again") is None
    assert sorted(path for path in Path("migrations/versions").iterdir() if path.name != "__pycache__") == [
        path for path in before if path.name != "__pycache__"
    ]
    empty = migrations.new("fill in names", empty=True)
    assert empty is not None
    assert migrations.up() == [empty]


def test_new_asks_for_up_first(application: Application) -> None:
    migrations = Migrations(application.url)
    migrations.new("create users")
    with pytest.raises(UsageError, match="not up to date") as raised:
        migrations.new("more")
    assert raised.value.hint == "dal migrate up"


def test_a_failing_migration_leaves_nothing_behind(application: Application) -> None:
    application.write_migration("0001", None, "op.execute('CREATE TABLE one (id integer)')")
    application.write_migration(
        "0002", "0001", "op.execute('CREATE TABLE two (id integer)'); op.execute('SELECT x FROM nowhere')"
    )
    with pytest.raises(
        DalError, match=r"migration 0002 Step 0002 failed, its transaction was rolled back: .*nowhere"
    ) as raised:
        Migrations(application.url).up()
    assert isinstance(raised.value.__cause__, DBAPIError)
    assert "0002.py" in raised.value.hint
    assert tables(application) <= {"alembic_version"}
    assert not Migrations(application.url).status().current


def test_up_and_down_to_a_revision_tell_each_step(application: Application) -> None:
    application.write_migration("0001", None, "op.execute('CREATE TABLE one (id integer)')", "op.drop_table('one')")
    application.write_migration("0002", "0001", "op.execute('CREATE TABLE two (id integer)')", "op.drop_table('two')")
    migrations = Migrations(application.url)
    told: list[str] = []
    migrations.up("0001", on_step=lambda revision: told.append(revision.id))
    migrations.up("+1", on_step=lambda revision: told.append(revision.id))
    migrations.down("base", on_step=lambda revision: told.append(revision.id))
    assert told == ["0001", "0002", "0002", "0001"]


@on_sqlite
@pytest.mark.parametrize("act", [lambda m: m.up("nope"), lambda m: m.down("nope"), lambda m: m.down("-1")])
def test_an_unreachable_target_is_a_usage_error(application: Application, act: Callable[[Migrations], object]) -> None:
    application.write_migration("0001", None, "pass")
    with pytest.raises(UsageError):
        act(Migrations(application.url))


def test_a_database_of_newer_code_is_left_alone(application: Application) -> None:
    application.write_migration("0001", None, "pass")
    application.write_migration("0002", "0001", "pass")
    migrations = Migrations(application.url)
    migrations.up()
    Path("migrations/versions/0002.py").unlink()
    assert migrations.status().unknown == ("0002",)
    for act in (migrations.up, migrations.down, migrations.check):
        with pytest.raises(UsageError, match="newer code migrated it"):
            act()


@on_sqlite
def test_two_heads_are_named(application: Application) -> None:
    application.write_migration("0001", None, "pass")
    application.write_migration("0002a", "0001", "pass")
    application.write_migration("0002b", "0001", "pass")
    migrations = Migrations(application.url)
    assert {revision.id for revision in migrations.up()} == {"0001", "0002a", "0002b"}
    with pytest.raises(UsageError) as raised:
        migrations.new("more", empty=True)
    assert raised.value.hint == "join them: alembic merge heads"


def test_the_callers_own_engine_is_used_and_left_open(application: Application) -> None:
    application.write_migration("0001", None, "op.execute('CREATE TABLE one (id integer)')")
    engine = create_engine("sqlite://", poolclass=StaticPool)
    assert [revision.id for revision in Migrations(engine).up()] == ["0001"]
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM one")) == 0
    engine.dispose()


def test_plain_alembic_runs_the_same_environment(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import command
    from alembic.config import Config

    Migrations(application.url).new("create users")
    monkeypatch.setenv("DAL_URL", application.url)
    command.upgrade(Config("alembic.ini"), "head")
    assert Migrations(application.url).status().up_to_date
    command.check(Config("alembic.ini"))


def test_an_asynchronous_url_is_run_without_a_loop(application: Application) -> None:
    application.write_migration("0001", None, "pass")
    url = application.url.replace("sqlite:", "sqlite+aiosqlite:").replace("+psycopg:", "+psycopg_async:")
    assert [revision.id for revision in Migrations(url).up()] == ["0001"]


@on_sqlite
def test_an_unreachable_server_is_told_without_its_password(application: Application) -> None:
    with pytest.raises(ConnectFailed, match="no connection to shop at host 127") as raised:
        Migrations("postgresql+psycopg://app:geheim@127.0.0.1:1/shop").up()
    assert "geheim" not in str(raised.value)
    assert "geheim" not in repr(Migrations("postgresql+psycopg://app:geheim@127.0.0.1:1/shop"))


@on_sqlite
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"database": "sqlite://", "folder": "nowhere"}, "no env.py"),
        ({"database": "no url"}, "not a database URL"),
        ({"database": "nosql://here/db"}, "no dialect that SQLAlchemy knows"),
        ({"database": "sqlite://", "lock_timeout": "soon"}, "lock_timeout: 'soon' is not a duration"),
    ],
)
def test_bad_settings_are_told(application: Application, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Migrations(**arguments)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("app", "is not accepted"),
        ("nowhere_at_all:Base", "'nowhere_at_all' cannot be imported"),
        ("json:Base", "json has no 'Base'"),
        ("json:dumps", "json has no 'dumps' that is a MetaData"),
    ],
)
def test_init_refuses_what_has_no_metadata(tmp_path: Path, metadata: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        init(tmp_path / "migrations", metadata=metadata)
    assert not (tmp_path / "migrations").exists()


@on_sqlite
def test_init_touches_no_file_that_is_there(application: Application) -> None:
    with pytest.raises(UsageError, match="not empty"):
        init(metadata=f"{application.name}.models:Base")
    Path("alembic.ini").write_text("# mine")
    written = init("others", metadata=f"{application.name}.models:Base")
    assert Path("alembic.ini").read_text() == "# mine"
    assert [path.name for path in written] == ["env.py", "script.py.mako", ".gitkeep"]
