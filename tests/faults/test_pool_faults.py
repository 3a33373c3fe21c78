"""What the application sees of kills, restarts, outages and freezes when nothing is retried: those in flight, and no more."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, InternalError, SQLAlchemyError

from dal.embedded import EmbeddedServer
from dal.errors import PoolTimeout
from dal.pool import ConnectionPool
from tests.faults.conftest import Load, Watch, admin, application_backends, until

Make = Callable[..., Engine]


def pool_of(engine: Engine) -> ConnectionPool:
    assert isinstance(engine.pool, ConnectionPool)
    return engine.pool


def kill_backends(server: EmbeddedServer, name: str = "dal%") -> None:
    admin(server, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE %s", name)


def test_twenty_idle_connections_killed(server: EmbeddedServer, engine: Make) -> None:
    made = engine(min_pool_size=20, max_pool_size=20, keepalive="1h")
    assert pool_of(made).warm_up("20s")
    kill_backends(server)
    began = time.monotonic()
    for _ in range(30):
        with made.connect() as connection:
            connection.execute(text("SELECT 1"))
    assert time.monotonic() - began < 2
    until(lambda: pool_of(made).stats().failed_checks == 20)


def test_killed_under_load(server: EmbeddedServer, engine: Make) -> None:
    made = engine(min_pool_size=8, max_pool_size=8)
    pool_of(made).warm_up()
    with Load(made, threads=8) as load:
        time.sleep(0.2)
        kill_backends(server)
        moment = time.monotonic()
        until(lambda: load.whole_since(moment))
        time.sleep(0.2)
    assert len(load.errors) <= 8
    assert pool_of(made).stats().in_use == 0


def test_an_immediate_restart_under_load(server: EmbeddedServer, engine: Make) -> None:
    made = engine(min_pool_size=8, max_pool_size=8)
    pool_of(made).warm_up()
    with Load(made, threads=8) as load:
        time.sleep(0.2)
        server.halt("immediate")
        watch = Watch(server).start()
        server.start()
        back = watch.wait()
        until(lambda: load.whole_since(back))
        whole = max(load.successes.values())
        time.sleep(0.2)
    assert len(load.errors) <= 8
    assert min(load.successes.values()) > back
    assert whole - back < 0.5


@pytest.mark.parametrize(
    "seconds", [1.5, pytest.param(5.0, marks=pytest.mark.soak), pytest.param(20.0, marks=pytest.mark.soak)]
)
def test_the_server_is_down_for_a_while(server: EmbeddedServer, engine: Make, seconds: float) -> None:
    made = engine(min_pool_size=8, max_pool_size=8)
    pool_of(made).warm_up()
    with Load(made, threads=8) as load:
        time.sleep(0.2)
        server.halt("immediate")
        time.sleep(seconds)
        watch = Watch(server).start()
        server.start()
        back = watch.wait()
        until(lambda: load.whole_since(back))
        whole = time.monotonic() - back
        time.sleep(0.2)
    assert len(load.errors) <= 8
    assert whole < 0.5
    assert pool_of(made).stats().failed_opens < 60 + 5 * seconds


def test_idle_backends_frozen(server: EmbeddedServer, engine: Make) -> None:
    made = engine(min_pool_size=5, max_pool_size=8, validation_timeout="500ms", connection_timeout="3s", test_while_idle=False)
    pool_of(made).warm_up()
    time.sleep(0.6)
    frozen = application_backends(server)
    for one in frozen:
        os.kill(one, signal.SIGSTOP)
    try:
        began = time.monotonic()
        for _ in range(10):
            with made.connect() as connection:
                connection.execute(text("SELECT 1"))
        took = time.monotonic() - began
    finally:
        for one in frozen:
            os.kill(one, signal.SIGCONT)
    assert len(frozen) == 5
    assert 0.4 < took < 0.5 + 0.3
    assert pool_of(made).stats().failed_checks == 5


def test_frozen_idle_backends_are_found_in_the_background(server: EmbeddedServer, engine: Make) -> None:
    made = engine(min_pool_size=4, max_pool_size=4, validation_timeout="200ms", keepalive="300ms")
    pool_of(made).warm_up()
    frozen = application_backends(server)
    for one in frozen:
        os.kill(one, signal.SIGSTOP)
    try:
        until(lambda: pool_of(made).stats().failed_checks == 4 and pool_of(made).stats().idle == 4)
        began = time.monotonic()
        with made.connect() as connection:
            connection.execute(text("SELECT 1"))
        assert time.monotonic() - began < 0.2
    finally:
        for one in frozen:
            os.kill(one, signal.SIGCONT)


def test_a_demoted_primary_is_left_for_the_other_host(server: EmbeddedServer, engine: Make) -> None:
    with server.basebackup(tcp=True, settings={"max_connections": "120"}) as other:
        other.promote()
        admin(server, "CREATE TABLE IF NOT EXISTS turns (x int)")
        admin(other, "CREATE TABLE IF NOT EXISTS turns (x int)")
        url = server.url().update_query_dict(
            {"host": "127.0.0.1,127.0.0.1", "port": f"{server.port},{other.port}", "target_session_attrs": "read-write"}
        )
        url = url.set(host=None, port=None)
        made = engine(url, min_pool_size=4, max_pool_size=4)
        pool_of(made).warm_up()
        errors: list[DBAPIError] = []
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                try:
                    with made.begin() as connection:
                        connection.execute(text("INSERT INTO turns VALUES (1)"))
                except DBAPIError as error:
                    errors.append(error)

        workers = [threading.Thread(target=write) for _ in range(4)]
        for worker in workers:
            worker.start()
        time.sleep(0.3)
        try:
            admin(server, "ALTER SYSTEM SET default_transaction_read_only = on")
            admin(server, "SELECT pg_reload_conf()")
            until(lambda: admin(other, "SELECT count(*) FROM turns")[0][0] > 20)
            time.sleep(0.5)
        finally:
            stop.set()
            for worker in workers:
                worker.join()
            admin(server, "ALTER SYSTEM RESET default_transaction_read_only")
            admin(server, "SELECT pg_reload_conf()")
    assert 1 <= len(errors) <= 4
    assert all(isinstance(error, InternalError) for error in errors)


def suffer(made: Engine, kind: str) -> None:
    """Borrow and let one thing go wrong."""
    with made.connect() as connection:
        if kind == "kill":
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        elif kind == "invalidate":
            connection.invalidate()
        elif kind == "detach":
            connection.detach()
        elif kind == "statement":
            connection.execute(text("SET LOCAL statement_timeout = 1"))
            connection.execute(text("SELECT pg_sleep(1)"))
        else:
            raise KeyError(kind)


def mix_faults(made: Engine, faults: int) -> None:
    """Kill, break off, cancel and time out borrows, `faults` of them in all."""

    def work(seed: int) -> None:
        mine = random.Random(seed)
        for _ in range(faults // 8):
            with suppress(SQLAlchemyError, KeyError):
                suffer(made, mine.choice(["kill", "invalidate", "detach", "statement", "raise"]))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    core = pool_of(made)._core
    while any(worker.is_alive() for worker in workers):
        with suppress(PoolTimeout):
            core.give_back(core.take(0.0005))
    for worker in workers:
        worker.join()


@pytest.mark.parametrize("faults", [200, pytest.param(1000, marks=pytest.mark.soak)])
def test_no_slot_is_lost(engine: Make, faults: int) -> None:
    made = engine(min_pool_size=0, max_pool_size=4, connection_timeout="10s")
    mix_faults(made, faults)
    until(lambda: pool_of(made).stats().opening == 0)
    stats = pool_of(made).stats()
    assert (stats.in_use, stats.waiting) == (0, 0)
    assert stats.size <= 4
    held = [made.connect() for _ in range(4)]
    assert pool_of(made).stats().in_use == 4
    for connection in held:
        connection.close()
