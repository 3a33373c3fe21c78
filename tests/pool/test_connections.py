"""ConnectionPool under SQLAlchemy's engines, against a real server."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError
from sqlalchemy.orm import Session

from dal.config import PoolConfig
from dal.deadlines import limit
from dal.errors import ConfigError, ConnectFailed, DeadlineExceeded, PoolTimeout, UsageError
from dal.events import Opened
from dal.pool import ConnectionPool, looking
from dal.pool.maintenance import tick

Make = Callable[..., Engine]


def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


def pool_of(engine: Engine) -> ConnectionPool:
    assert isinstance(engine.pool, ConnectionPool)
    return engine.pool


def pid(connection: Any) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def kill(admin: Engine, *pids: int) -> None:
    with admin.connect() as connection:
        for one in pids:
            connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": one})


def test_the_ten_settings_are_arguments_of_create_engine(engine: Make) -> None:
    made = engine(
        min_pool_size=1,
        max_pool_size=2,
        connection_timeout="3s",
        idle_timeout="10m",
        max_lifetime="1h",
        validation_query="SELECT 2",
        test_on_borrow="always",
        test_while_idle=False,
        retry_attempts=2,
        retry_delay="10ms",
    )
    assert pool_of(made).config == PoolConfig(
        min_pool_size=1,
        max_pool_size=2,
        connection_timeout=3,
        idle_timeout=600,
        max_lifetime=3600,
        validation_query="SELECT 2",
        test_on_borrow="always",
        test_while_idle=False,
        retry_attempts=2,
        retry_delay=0.01,
    )


def test_bad_settings_are_refused_before_anything_connects(url: URL) -> None:
    with pytest.raises(ConfigError, match="max_pool_size"):
        create_engine(url, poolclass=ConnectionPool, max_pool_size=0)


def test_nothing_connects_before_the_first_use(engine: Make, backends: Callable[[str], int], url: URL) -> None:
    made = engine(url.update_query_dict({"application_name": "quiet"}), min_pool_size=3)
    time.sleep(0.1)
    assert backends("quiet") == 0
    with made.connect():
        until(lambda: backends("quiet") == 3)


def test_warm_up_opens_the_minimum(engine: Make) -> None:
    made = engine(min_pool_size=4)
    assert pool_of(made).warm_up("5s")
    assert pool_of(made).stats().idle == 4


def test_spare_connections_are_those_nobody_needs(engine: Make) -> None:
    made = engine(min_pool_size=2, max_pool_size=2)
    assert pool_of(made).spare() == 0, "nothing is open yet"
    assert pool_of(made).warm_up("5s")
    assert pool_of(made).spare() == 1
    with made.connect():
        assert pool_of(made).spare() == 0, "the other one is for whoever comes next"
    pool_of(made).suspend()
    assert pool_of(made).spare() == 0
    pool_of(made).resume()
    assert pool_of(made).spare() == 1


def test_connection_defaults_yield_to_the_applications_own(engine: Make, url: URL) -> None:
    def parameters(made: Engine) -> dict[str, str]:
        with made.connect() as connection:
            return dict(connection.connection.driver_connection.info.get_parameters())  # type: ignore[union-attr]

    ours = parameters(engine(min_pool_size=0))
    assert ours["application_name"].startswith("dal")
    assert (ours["connect_timeout"], ours["keepalives_idle"], ours["tcp_user_timeout"]) == ("10", "30", "30000")
    own = parameters(engine(url.update_query_dict({"application_name": "mine", "connect_timeout": "3"}), min_pool_size=0))
    assert (own["application_name"], own["connect_timeout"]) == ("mine", "3")


def test_a_transaction_left_open_is_rolled_back(engine: Make) -> None:
    made = engine(min_pool_size=1, max_pool_size=1)
    with made.connect() as connection:
        connection.execute(text("CREATE TEMP TABLE left_open (x int)"))
    with made.connect() as connection, pytest.raises(DBAPIError):
        connection.execute(text("SELECT * FROM left_open"))


def test_events_fire_once_for_each_connection(engine: Make) -> None:
    made = engine(min_pool_size=0, max_pool_size=1)
    seen: list[str] = []
    for name in ("connect", "checkout", "checkin", "close"):
        event.listen(made, name, lambda *_, name=name: seen.append(name))
    for _ in range(3):
        with made.connect():
            pass
    made.dispose()
    assert seen == ["connect"] + ["checkout", "checkin"] * 3 + ["close"]


def test_a_killed_idle_connection_is_not_met(engine: Make, admin: Engine) -> None:
    made = engine(min_pool_size=3, max_pool_size=3, keepalive="1h")
    pool_of(made).warm_up()
    with made.connect() as a, made.connect() as b, made.connect() as c:
        victims = [pid(a), pid(b), pid(c)]
    kill(admin, *victims)
    for _ in range(5):
        with made.connect() as connection:
            assert pid(connection) not in victims
    assert pool_of(made).stats().failed_checks == 3


def test_dead_idle_connections_are_replaced_in_the_background(engine: Make, admin: Engine) -> None:
    made = engine(min_pool_size=3, max_pool_size=3, keepalive="200ms")
    pool_of(made).warm_up()
    with made.connect() as a, made.connect() as b:
        victims = [pid(a), pid(b)]
    opened = pool_of(made).stats().opened
    kill(admin, *victims)
    until(lambda: pool_of(made).stats().opened == opened + 2 and pool_of(made).stats().idle == 3)


def test_a_connection_that_dies_in_use_costs_no_slot(engine: Make, admin: Engine) -> None:
    made = engine(min_pool_size=1, max_pool_size=2, connection_timeout="5s")
    for _ in range(5):
        with made.connect() as connection:
            kill(admin, pid(connection))
            with pytest.raises(OperationalError) as caught:
                connection.execute(text("SELECT 1"))
            assert caught.value.connection_invalidated
    with made.connect() as a, made.connect() as b:
        assert pid(a) != pid(b)
    assert pool_of(made).stats().size == 2


def test_maintenance_and_borrowers_do_not_disturb_each_other(engine: Make) -> None:
    made = engine(min_pool_size=4, max_pool_size=4, keepalive="20ms")
    pool_of(made).warm_up()
    errors: list[BaseException] = []
    end = time.monotonic() + 1

    def guarded(work: Callable[[], object]) -> None:
        try:
            while time.monotonic() < end:
                work()
        except BaseException as error:
            errors.append(error)

    def borrow() -> None:
        with made.connect():
            pass

    tasks = [borrow] * 4 + [lambda: tick(pool_of(made)._core), pool_of(made)._core.sweep]
    workers = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
    until(lambda: pool_of(made).stats().idle == 4)
    assert (pool_of(made).stats().opened, pool_of(made).stats().closed) == (4, 0)


def test_the_background_looks_while_a_borrower_does(engine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_libc_poll", None)
    made = engine(min_pool_size=1, max_pool_size=1, test_while_idle=False)
    pool_of(made).warm_up()
    entry = next(iter(pool_of(made)._core.shelf.entries))
    borrower = threading.Thread(target=entry.peek, args=(300,))
    borrower.start()
    time.sleep(0.1)
    pool_of(made)._core.sweep()
    borrower.join()
    assert pool_of(made).stats().idle == 1


def test_always_sends_the_validation_query(engine: Make, admin: Engine) -> None:
    made = engine(min_pool_size=0, max_pool_size=1, test_on_borrow="always", validation_query="SELECT 'are you there'")
    with made.connect() as connection:
        victim = pid(connection)
    with made.connect():
        pass
    with admin.connect() as connection:
        last = connection.execute(text("SELECT query FROM pg_stat_activity WHERE pid = :pid"), {"pid": victim}).scalar_one()
    assert last == "SELECT 'are you there'"


def test_a_validation_query_that_fails_says_so(engine: Make) -> None:
    made = engine(
        min_pool_size=0, max_pool_size=1, test_on_borrow="always", validation_query="SELECT no_such", connection_timeout="300ms"
    )
    with pytest.raises(PoolTimeout, match=r"a check failed: ERROR:  column .no_such. does not exist"):
        made.connect()


def test_a_notification_survives_the_checks(engine: Make) -> None:
    made = engine(min_pool_size=0, max_pool_size=1)
    with made.connect() as connection:
        connection.execute(text("LISTEN news"))
        connection.commit()
        listener = connection.connection.driver_connection
    sender = engine(min_pool_size=0, max_pool_size=1)
    with sender.begin() as connection:
        connection.execute(text("NOTIFY news, 'extra'"))
    time.sleep(0.05)
    pool_of(made)._core.sweep()
    with made.connect() as connection:
        assert connection.connection.driver_connection is listener
        found = [note.payload for note in listener.notifies(timeout=1, stop_after=1)]  # type: ignore[union-attr]
    assert found == ["extra"]


def test_a_wrong_password_fails_all_waiters_at_once(engine: Make, url: URL) -> None:
    made = engine(url.set(password="not the one"), connection_timeout="30s")
    errors: list[ConnectFailed] = []

    def connect() -> None:
        with pytest.raises(ConnectFailed) as caught:
            made.connect()
        errors.append(caught.value)

    began = time.monotonic()
    threads = [threading.Thread(target=connect) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 5
    assert len(errors) == 6
    message = str(errors[0])
    assert f"127.0.0.1:{url.port}" in message
    assert "password authentication failed" in message
    assert "not the one" not in message
    assert isinstance(errors[0], OperationalError)
    assert isinstance(errors[0].orig, psycopg.OperationalError)


def test_a_missing_database_fails_at_once_and_warm_up_too(engine: Make, url: URL) -> None:
    made = engine(url.set(database="no_such_database"))
    began = time.monotonic()
    with pytest.raises(ConnectFailed, match='"no_such_database" does not exist'):
        made.connect()
    with pytest.raises(ConnectFailed):
        pool_of(made).warm_up("30s")
    assert time.monotonic() - began < 5


def test_nobody_there_is_tried_until_the_timeout(engine: Make, url: URL) -> None:
    made = engine(url.set(port=1), connection_timeout="400ms")
    began = time.monotonic()
    with pytest.raises(PoolTimeout) as caught:
        made.connect()
    assert 0.35 < time.monotonic() - began < 1.5
    assert isinstance(caught.value.__cause__, ConnectFailed)
    assert "refused" in str(caught.value)
    assert 3 < pool_of(made).stats().failed_opens < 30


def test_an_error_of_a_connect_listener_reaches_the_borrower(engine: Make) -> None:
    made = engine(connection_timeout="20s")

    def broken(*_: Any) -> None:
        raise ValueError("a mistake in the listener")

    event.listen(made, "connect", broken)
    with pytest.raises(ValueError, match="a mistake"):
        made.connect()


def test_exhaustion_names_line_age_and_last_statement(engine: Make) -> None:
    made = engine(min_pool_size=0, max_pool_size=1, connection_timeout="100ms")
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with Session(made) as session:
            session.execute(text("SELECT 'kept too long'"))
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with pytest.raises(PoolTimeout) as caught:
        made.connect()
    release.set()
    thread.join()
    message = str(caught.value)
    assert "1 of at most 1 exist, 1 in use, 0 idle, 0 being made" in message
    assert "test_connections.py" in message
    assert "in hold" in message
    assert "last statement: SELECT 'kept too long'" in message


def test_a_nested_borrow_that_waits_for_itself_is_told_at_once(engine: Make) -> None:
    made = engine(min_pool_size=0, max_pool_size=1, connection_timeout="20s")
    began = time.monotonic()
    with made.connect(), pytest.raises(PoolTimeout, match="this one included"):
        made.connect()
    assert time.monotonic() - began < 1


def test_a_deadline_in_force_shortens_the_wait(engine: Make) -> None:
    made = engine(min_pool_size=0, max_pool_size=1, connection_timeout="20s")
    with made.connect():
        began = time.monotonic()
        other = threading.Thread(target=_wait_in_vain, args=(made,))
        other.start()
        other.join()
        assert time.monotonic() - began < 2


def _wait_in_vain(made: Engine) -> None:
    with pytest.raises(DeadlineExceeded), limit("100ms"):
        made.connect()


# Python 3.12 and newer warn of every fork in a process with threads.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_leaves_the_parents_connections_alone(engine: Make) -> None:
    made = engine(min_pool_size=2, max_pool_size=2)
    pool_of(made).warm_up()
    with made.connect() as held:
        mine = pid(held)
        child = os.fork()
        if child == 0:
            try:
                with made.connect() as connection:
                    fresh = pid(connection) != mine
                pool_of(made).close(timeout=1)
                with pytest.raises(OperationalError, match="closed the connection"):
                    held.execute(text("SELECT 1"))
                held.close()
                os._exit(0 if fresh else 1)
            except BaseException:
                traceback.print_exc()
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert pid(held) == mine
    for _ in range(3):
        with made.connect() as connection:
            pid(connection)
    assert pool_of(made).stats().failed_checks == 0


def _in_child(engine: Engine, queue: Any) -> None:
    with engine.connect() as connection:
        queue.put(pid(connection))


# Python 3.12 and newer warn of every fork in a process with threads.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_multiprocessing_by_fork_gets_its_own_connections(engine: Make) -> None:
    made = engine(min_pool_size=1, max_pool_size=2)
    with made.connect() as connection:
        mine = pid(connection)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_in_child, args=(made, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    pids = {queue.get(timeout=10) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(pids) == 3
    assert mine not in pids
    with made.connect() as connection:
        assert pid(connection) == mine


def test_dispose_closes_idle_and_the_engine_goes_on(engine: Make, backends: Callable[[str], int], url: URL) -> None:
    made = engine(url.update_query_dict({"application_name": "disposed"}), min_pool_size=2)
    pool_of(made).warm_up()
    with made.connect() as held:
        made.dispose()
        until(lambda: backends("disposed") == 1)
        assert pid(held)
    until(lambda: backends("disposed") == 0)
    facts: list[object] = []
    stop = pool_of(made).observe(facts.append)
    made.dispose()
    with made.connect() as connection:
        assert pid(connection)
    assert pool_of(made).config.min_pool_size == 2
    until(lambda: [type(fact) for fact in facts].count(Opened) == 2)
    stop()


def test_close_breaks_off_what_does_not_come_back(engine: Make, caplog: pytest.LogCaptureFixture) -> None:
    made = engine(min_pool_size=0, max_pool_size=1)
    failed = threading.Event()
    running = threading.Event()

    def sleep() -> None:
        with made.connect() as connection:
            running.set()
            try:
                connection.execute(text("SELECT pg_sleep(30)"))
            except DBAPIError:
                failed.set()

    thread = threading.Thread(target=sleep)
    thread.start()
    running.wait()
    time.sleep(0.1)
    began = time.monotonic()
    pool_of(made).close(timeout="200ms")
    thread.join(5)
    assert failed.is_set()
    assert time.monotonic() - began < 3
    assert "pg_sleep" in caplog.text
    with pytest.raises(UsageError, match="closed"):
        made.connect()


def test_a_server_that_turned_read_only_renews_the_whole_pool(engine: Make, admin: Engine, url: URL) -> None:
    name = "demoted"
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    made = engine(url.set(database=name), min_pool_size=3, max_pool_size=3)
    pool_of(made).warm_up()
    with made.begin() as connection:
        connection.execute(text("CREATE TABLE t (x int)"))
    opened = pool_of(made).stats().opened
    with made.connect() as connection, made.connect() as other:
        for one in (connection, other):
            one.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
            one.commit()
        with pytest.raises(InternalError) as caught:
            connection.execute(text("INSERT INTO t VALUES (1)"))
        assert caught.value.connection_invalidated
    until(lambda: pool_of(made).stats().opened == opened + 3)
    with made.begin() as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))


def test_the_applications_own_read_only_evicts_nothing(engine: Make) -> None:
    made = engine(min_pool_size=1, max_pool_size=1)
    with made.connect().execution_options(postgresql_readonly=True) as connection:
        with pytest.raises(InternalError) as caught:
            connection.execute(text("CREATE TABLE never (x int)"))
        assert not caught.value.connection_invalidated
    assert pool_of(made).stats().opened == 1


def test_a_stale_plan_renews_the_connection(engine: Make, admin: Engine) -> None:
    made = engine(min_pool_size=1, max_pool_size=1, connection_timeout="5s")
    with admin.connect() as connection:
        connection.execute(text("DROP TABLE IF EXISTS stale; CREATE TABLE stale (x int)"))
    with made.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(8):
            connection.execute(text("SELECT * FROM stale"))
        with admin.connect() as other:
            other.execute(text("ALTER TABLE stale ADD COLUMN y int"))
        with pytest.raises(DBAPIError) as caught:
            connection.execute(text("SELECT * FROM stale"))
        assert caught.value.connection_invalidated
    with made.connect() as connection:
        connection.execute(text("SELECT * FROM stale"))


def test_soft_invalidation_and_detaching_are_honoured(engine: Make) -> None:
    made = engine(min_pool_size=0, max_pool_size=2)
    with made.connect() as connection:
        first = pid(connection)
        connection.connection.invalidate(soft=True)
    with made.connect() as connection:
        second = pid(connection)
        assert second != first
        connection.detach()
        assert pid(connection) == second
    assert pool_of(made).stats().size == 0
    with made.connect() as connection:
        assert pid(connection) != second


def test_the_sizes_can_be_changed_and_the_pool_drained(engine: Make) -> None:
    made = engine(min_pool_size=1, max_pool_size=1)
    pool_of(made).warm_up()
    pool_of(made).resize(min_pool_size=3, max_pool_size=5)
    until(lambda: pool_of(made).stats().idle == 3)
    pool_of(made).drain()
    until(lambda: pool_of(made).stats().opened == 6)
    assert "of at most 5 connections" in made.pool.status()
