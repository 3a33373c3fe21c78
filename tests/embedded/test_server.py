from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from dal.embedded import EmbeddedServer
from dal.embedded.databases import connect
from dal.errors import ServerError, UsageError


def ask(url: URL, statement: str) -> object:
    with connect(url) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return None if row is None else row[0]


def test_temporary_server_leaves_nothing() -> None:
    with EmbeddedServer() as server:
        assert str(ask(server.url(), "SHOW server_version")).startswith("18.")
        assert ask(server.url(), "SHOW fsync") == "off"
        pid, data, sockets = server.pid, server.data, server.socket_folder
        assert server.is_running
        assert server.port is None
    assert not data.exists()
    assert not sockets.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_data_stays_in_a_given_folder_and_is_synced(tmp_path: Path) -> None:
    data = tmp_path / "made" / "on the way"
    with EmbeddedServer(data) as server:
        ask(server.url(), "CREATE TABLE kept AS SELECT 7 AS number")
        assert ask(server.url(), "SHOW fsync") == "on"
        address = server.url()
    with EmbeddedServer(data) as server:
        assert ask(server.url(), "SELECT number FROM kept") == 7
        assert server.url() == address
    assert {path.name for path in data.iterdir()} >= {"cluster", "server.log", "password"}


def test_path_longer_than_a_socket_may_have_and_with_spaces(tmp_path: Path) -> None:
    data = tmp_path.joinpath(*["deep down, it's here"] * 8)
    assert len(str(data)) > 107
    with EmbeddedServer(data) as server:
        assert ask(server.url(), "SELECT 1") == 1


def test_settings_reach_the_server_and_win_over_defaults() -> None:
    settings = {"wal_level": "logical", "fsync": "on", "timezone": "Europe/Zurich", "work_mem": "5MB"}
    with EmbeddedServer(settings=settings) as server:
        assert {name: ask(server.url(), f"SHOW {name}") for name in settings} == settings


async def test_url_works_for_sync_and_async_engines() -> None:
    with EmbeddedServer() as server:
        engine = create_engine(server.url())
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT current_user")) == "postgres"
        engine.dispose()
        async_engine = create_async_engine(server.url())
        async with async_engine.connect() as async_connection:
            assert await async_connection.scalar(text("SHOW server_encoding")) == "UTF8"
        await async_engine.dispose()


def test_tcp_asks_for_the_password(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "data", tcp=True) as server:
        assert server.url().host == "127.0.0.1"
        assert ask(server.url(), "SELECT inet_server_port()") == server.port
        for wrong in ("", "guess"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                ask(server.url().set(password=wrong), "SELECT 1")
        assert server.password not in repr(server.url())
        assert (server.data / "password").stat().st_mode & 0o077 == 0
        port = server.port
        server.restart()
        assert server.port == port


def test_several_servers_side_by_side() -> None:
    with EmbeddedServer() as one, EmbeddedServer(tcp=True) as other:
        ask(one.url(), "CREATE TABLE mine ()")
        assert ask(other.url(), "SELECT to_regclass('mine')") is None
        assert one.pid != other.pid


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_restart_keeps_data_and_address(mode: str) -> None:
    with EmbeddedServer(settings={"fsync": "on", "synchronous_commit": "on"}) as server:
        ask(server.url(), "CREATE TABLE kept AS SELECT 7 AS number")
        pid, address = server.pid, server.url()
        server.restart(mode)  # type: ignore[arg-type]
        assert server.pid != pid
        assert ask(address, "SELECT number FROM kept") == 7


def test_halted_server_comes_back_with_start() -> None:
    with EmbeddedServer() as server:
        server.halt("fast")
        assert not server.is_running
        with pytest.raises(psycopg.OperationalError):
            ask(server.url(), "SELECT 1")
        server.start()
        assert ask(server.url(), "SELECT 1") == 1


def test_crash_recovers_with_a_stale_pid_file_and_what_was_committed(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "data") as server:
        ask(server.url(), "CREATE TABLE kept AS SELECT 7 AS number")
        client = connect(server.url())
        server.kill()
        assert (tmp_path / "data" / "cluster" / "postmaster.pid").exists()
        server.start()
        assert ask(server.url(), "SELECT number FROM kept") == 7
        client.close()


def test_crash_whose_processes_are_not_gone_yet(tmp_path: Path) -> None:
    """They hold the shared memory, and tell of the crash in the log, while the next server already starts."""
    with EmbeddedServer(tmp_path / "data") as server:
        clients = [connect(server.url()) for _ in range(12)]
        pids = [client.info.backend_pid for client in clients]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)

        def go_on() -> None:
            for pid in pids:
                time.sleep(0.03)
                os.kill(pid, signal.SIGCONT)

        one_by_one = threading.Thread(target=go_on)
        server.kill()
        one_by_one.start()
        try:
            server.start()
        finally:
            one_by_one.join()
        assert ask(server.url(), "SELECT 1") == 1
        for client in clients:
            client.close()


def test_stopping_a_halted_temporary_server_removes_it() -> None:
    server = EmbeddedServer().start()
    data, sockets = server.data, server.socket_folder
    server.halt("immediate")
    server.stop()
    assert not data.exists()
    assert not sockets.exists()
    server.stop()


def test_replica_follows_and_is_promoted() -> None:
    with EmbeddedServer() as primary:
        ask(primary.url(), "CREATE TABLE kept AS SELECT 7 AS number")
        with primary.basebackup(tcp=True) as replica:
            assert ask(replica.url(), "SELECT pg_is_in_recovery()") is True
            lsn = ask(primary.url(), "INSERT INTO kept VALUES (8) RETURNING pg_current_wal_insert_lsn()::text")
            ask(primary.url(), "SELECT pg_switch_wal()")
            caught_up = f"DO $$ BEGIN WHILE pg_last_wal_replay_lsn() < '{lsn}' LOOP PERFORM pg_sleep(0.01); END LOOP; END $$"
            ask(replica.url(), f"SET statement_timeout = '20s'; {caught_up}")
            assert ask(replica.url(), "SELECT sum(number) FROM kept") == 15
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                ask(replica.url(), "INSERT INTO kept VALUES (9)")
            replica.promote()
            ask(replica.url(), "INSERT INTO kept VALUES (9)")
            with pytest.raises(ServerError, match="no replica"):
                primary.promote()


def test_databases_are_cloned_and_dropped_under_their_users() -> None:
    with EmbeddedServer() as server:
        template = server.create_database('odd "name"; of 1:1')
        ask(template, "CREATE TABLE kept AS SELECT 7 AS number")
        clone = server.create_database("clone", template=template.database)
        with pytest.raises(ServerError, match="already exists"):
            server.create_database("clone")
        client = connect(clone)
        assert client.execute("SELECT number FROM kept").fetchone() == (7,)
        server.drop_database("clone")
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
        client.close()
        server.drop_database("clone")
        assert ask(server.url(), "SELECT count(*) FROM pg_database WHERE datname = 'clone'") == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"no_such_setting": "1"}, "unrecognized configuration parameter"),
        ({"wal_level": "sideways"}, "invalid value for parameter"),
        ({"shared_buffers": "9999TB"}, "invalid value for parameter .*9999TB"),
    ],
)
def test_setting_the_server_refuses_is_told_in_its_words(settings: dict[str, str], told: str) -> None:
    server = EmbeddedServer(settings=settings)
    with pytest.raises(ServerError, match=told):
        server.start()
    assert not server.data.exists()


@pytest.mark.parametrize(
    "settings",
    [{"port": "5432"}, {"listen_addresses": "*"}, {"work mem": "1MB"}, {"-c": "x"}, {"work_mem": 5}, {"work_mem": "5\0"}],
)
def test_setting_that_cannot_be_one_is_refused_at_once(settings: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        EmbeddedServer(settings=settings)


def test_use_before_start_names_the_way() -> None:
    server = EmbeddedServer()
    for use in (lambda: server.pid, server.url, server.kill, server.restart, lambda: server.data):
        with pytest.raises(UsageError, match=r"start|with EmbeddedServer"):
            use()


def test_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ServerError, match="other things"):
        EmbeddedServer(tmp_path).start()
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_folder_that_is_a_file_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match="cannot be used"):
        EmbeddedServer(tmp_path / "file").start()
