"""A real PgBouncer in transaction mode, with fewer connections than clients."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dal import ConfigError, Database, DeadlineExceeded
from dal.database.pgbouncer import behind_pgbouncer
from dal.embedded import EmbeddedServer
from tests.database.doors import Door

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed: apt-get install pgbouncer")


@pytest.fixture(scope="module")
def bouncer() -> Iterator[URL]:
    """PgBouncer in front of a server, known by the URL of its socket."""
    assert PGBOUNCER is not None
    with EmbeddedServer(tcp=True) as server, tempfile.TemporaryDirectory(prefix="dal-bouncer-") as folder:
        users = Path(folder) / "users.txt"
        users.write_text(f'"postgres" "{server.password}"\n')
        settings = Path(folder) / "pgbouncer.ini"
        settings.write_text(
            f"""[databases]
postgres = host=127.0.0.1 port={server.port} dbname=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = 6432
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 2
"""
        )
        user = "nobody" if os.getuid() == 0 else None
        if user is not None:
            # PgBouncer refuses to run as root.
            for path in (Path(folder), users, settings):
                os.chown(path, pwd.getpwnam(user).pw_uid, -1)
        process = subprocess.Popen([PGBOUNCER, str(settings)], user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        url = URL.create(
            "postgresql+psycopg", "postgres", server.password, database="postgres", query={"host": folder, "port": "6432"}
        )
        try:
            _until_it_answers(url)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _until_it_answers(url: URL) -> None:
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
    deadline = time.monotonic() + 10
    while True:
        try:
            with psycopg.connect(conninfo):
                return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def bounced(opened: Callable[..., Door], bouncer: URL) -> Door:
    return opened(bouncer, pgbouncer=True)


@needs_pgbouncer
def test_nothing_is_prepared(bounced: Door) -> None:
    def work(session: Session) -> int:
        return session.scalar(text("SELECT count(*) FROM pg_prepared_statements")) or 0

    assert [bounced.run(work) for _ in range(20)] == [0] * 20


@needs_pgbouncer
def test_units_leave_nothing_behind(bounced: Door) -> None:
    def look(session: Session) -> tuple[str, str, str]:
        names = ("transaction_read_only", "transaction_isolation", "statement_timeout")
        row = session.execute(select(*(func.current_setting(name) for name in names))).one()
        return tuple(row)

    assert bounced.run(look, read_only=True)[0] == "on"
    assert bounced.run(look, isolation="SERIALIZABLE")[1] == "serializable"
    assert bounced.run(look, deadline="5s")[2] != "0"
    assert {bounced.run(look) for _ in range(10)} == {("off", "read committed", "0")}


@needs_pgbouncer
def test_deadlines_writes_and_gather(bounced: Door) -> None:
    with pytest.raises(DeadlineExceeded):
        bounced.run(lambda session: session.execute(text("SELECT pg_sleep(10)")), deadline="200ms")
    bounced.run(lambda session: session.execute(text("CREATE TABLE IF NOT EXISTS seen (n int)")))
    bounced.run(lambda session: session.execute(text("INSERT INTO seen VALUES (1)")))
    assert bounced.call(lambda db: db.gather(select(func.count()), select(func.now()), select(func.now())))[0] == [1]
    assert bounced.call(lambda db: db.health()).ok


@needs_pgbouncer
def test_a_killed_server_connection_is_not_noticed(bounced: Door) -> None:
    tries: list[int] = []

    def work(session: Session) -> int:
        tries.append(1)
        if len(tries) == 1:
            session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return session.scalar(text("SELECT 7")) or 0

    assert bounced.run(work) == 7
    assert len(tries) == 2


def test_startup_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="startup options"):
        Database("postgresql+psycopg://app@host/shop?options=-csearch_path%3Dshop", pgbouncer=True)


def test_another_driver() -> None:
    with pytest.raises(ConfigError, match="not psycopg"):
        Database("sqlite://", pgbouncer=True)


def test_the_applications_own_arguments_stay() -> None:
    url = URL.create("postgresql+psycopg", host="host")
    found = behind_pgbouncer(url, {"echo": True, "connect_args": {"sslmode": "require"}})
    assert found == {"echo": True, "connect_args": {"prepare_threshold": None, "sslmode": "require"}}
