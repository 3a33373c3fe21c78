from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from dal.errors import DeadlineExceeded, UnsupportedError
from dal.migrations import Migrations
from dal.migrations.lock import exclusive

if TYPE_CHECKING:
    from tests.migrations.conftest import Application

on_postgresql = pytest.mark.parametrize("application", ["postgresql"], indirect=True)


def journal(application: Application) -> list[str]:
    engine = create_engine(application.url)
    try:
        with engine.connect() as connection:
            return list(connection.scalars(text("SELECT line FROM journal ORDER BY line")))
    finally:
        engine.dispose()


def wait_for_statement(application: Application, like: str) -> None:
    engine = create_engine(application.url)
    found = text(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE :like AND pid <> pg_backend_pid() AND state = 'active'"
        " AND datname = current_database()"
    )
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            with engine.connect() as connection:
                if connection.scalar(found, {"like": like}):
                    return
            time.sleep(0.05)
    finally:
        engine.dispose()
    raise AssertionError(f"no statement like {like!r} was seen")


@pytest.mark.parametrize(
    ("application", "instances"), [("postgresql", 10), ("sqlite", 4)], indirect=["application"], ids=["postgresql", "sqlite"]
)
def test_many_instances_apply_each_migration_once(application: Application, instances: int) -> None:
    application.write_migration("0001", None, "op.execute('CREATE TABLE journal (line varchar(20))')")
    for number in range(2, 5):
        application.write_migration(
            f"000{number}", f"000{number - 1}", f"time.sleep(0.1); op.execute(\"INSERT INTO journal VALUES ('000{number}')\")"
        )
    started = [application.dal("migrate", "up", "--url", application.url) for _ in range(instances)]
    answers = [(*process.communicate(timeout=120), process.returncode) for process in started]
    assert [code for *_, code in answers] == [0] * instances, answers
    applied = [line for output, *_ in answers for line in output.splitlines() if line.startswith("applied")]
    assert sorted(applied) == [f"applied 000{number} Step 000{number}" for number in range(1, 5)]
    assert sum("nothing to apply" in output for output, *_ in answers) == instances - 1
    assert journal(application) == ["0002", "0003", "0004"]


@on_postgresql
def test_a_waiting_instance_does_not_block_create_index_concurrently(application: Application) -> None:
    application.write_migration("0001", None, "op.execute('CREATE TABLE journal (line varchar(20))')")
    Migrations(application.url).up()
    # A writer with an open transaction makes CREATE INDEX CONCURRENTLY wait, so that the second instance surely waits with it.
    application.write_migration(
        "0002",
        "0001",
        "with op.get_context().autocommit_block(): op.execute('CREATE INDEX CONCURRENTLY later ON journal (line)')",
    )
    engine = create_engine(application.url)
    with engine.connect() as writer:
        writer.execute(text("INSERT INTO journal VALUES ('open')"))
        first = application.dal("migrate", "up", "--url", application.url)
        wait_for_statement(application, "CREATE INDEX CONCURRENTLY%")
        second = application.dal("migrate", "up", "--url", application.url)
        assert second.stderr is not None
        assert "waiting" in second.stderr.readline()
        writer.commit()
    engine.dispose()
    assert first.communicate(timeout=90)[0] == "applied 0002 Step 0002\n"
    assert second.communicate(timeout=90)[0] == "nothing to apply\n"


@on_postgresql
def test_a_killed_instance_leaves_the_work_to_the_next(application: Application) -> None:
    application.write_migration("0001", None, "op.execute('CREATE TABLE journal (line varchar(20))')")
    application.write_migration("0002", "0001", "op.execute('SELECT pg_sleep(1)')")
    killed = application.dal("migrate", "up", "--url", application.url)
    wait_for_statement(application, "SELECT pg_sleep(1)")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert [revision.id for revision in Migrations(application.url).up()] == ["0001", "0002"]


def test_the_wait_is_bounded_and_names_who_is_migrating(application: Application) -> None:
    application.write_migration("0001", None, "pass")
    engine = create_engine(application.url)
    with engine.connect() as other, exclusive(other, 1):
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"another (instance \(server process \d+|process)") as raised:
            Migrations(application.url, lock_timeout="300ms").up()
        assert 0.3 <= time.monotonic() - started < 5
        assert "lock_timeout" in raised.value.hint
    engine.dispose()
    assert [revision.id for revision in Migrations(application.url).up()] == ["0001"]


def test_reading_does_not_wait_for_the_lock(application: Application) -> None:
    application.write_migration("0001", None, "pass")
    engine = create_engine(application.url)
    with engine.connect() as other, exclusive(other, 1):
        assert len(Migrations(application.url).status().pending) == 1
    engine.dispose()


def test_threads_of_one_process_take_turns(application: Application) -> None:
    engine = create_engine(application.url)
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with engine.connect() as connection, exclusive(connection, 30):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()
    assert most == [1] * 5


@on_postgresql
def test_the_lock_does_not_stay_on_a_pooled_connection(application: Application) -> None:
    engine = create_engine(application.url, pool_size=1, max_overflow=0)
    with pytest.raises(DBAPIError), engine.connect() as connection, exclusive(connection, 1):
        connection.execute(text("SELECT 1 / 0"))
    held = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )
    with engine.connect() as connection, exclusive(connection, 1):
        assert connection.scalar(held) == 1
    with engine.connect() as connection:
        assert connection.scalar(held) == 0
    engine.dispose()


def test_other_databases_are_refused() -> None:
    class Dialect:
        name = "oracle"

    class Connection:
        dialect = Dialect()

    with pytest.raises(UnsupportedError, match="oracle"):
        exclusive(Connection(), 1)  # type: ignore[arg-type]
