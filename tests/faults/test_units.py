"""Units of work under load while servers are killed, restarted, away and demoted: no error is seen, and the ledger balances."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from dal import AsyncDatabase, Database, PoolConfig
from dal.embedded import EmbeddedServer
from tests.database.doors import DOORS
from tests.faults.conftest import admin, application_backends, until

WORKERS = 8
POOL = PoolConfig(min_pool_size=4, max_pool_size=WORKERS, retry_delay="100ms", retry_attempts=5)


def write(session: Session, number: int) -> None:
    session.execute(text("INSERT INTO ledger VALUES (:n)"), {"n": number})


def read(session: Session) -> None:
    session.execute(text("SELECT pg_sleep(0.002)"))


@dataclass
class Load:
    """Workers that write one row after the other and read in between, until they are stopped."""

    door: str
    url: URL
    pool: PoolConfig = POOL
    written: list[int] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    progress: dict[int, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        if self.door == "sync":
            with Database(self.url, pool=self.pool) as db, ThreadPoolExecutor(WORKERS) as threads:
                list(threads.map(lambda worker: self._loop(worker, db), range(WORKERS)))
        else:
            asyncio.run(self._tasks())

    def stop(self) -> None:
        self._stop.set()

    def moves(self) -> None:
        """Wait until every worker has got on."""
        before = dict(self.progress)
        until(lambda: all(self.progress.get(worker, 0) > before.get(worker, 0) for worker in range(WORKERS)), 30)

    def _steps(self, worker: int) -> Iterator[tuple[int, Callable[[Session], Any]]]:
        step = 0
        while not self._stop.is_set():
            step += 1
            number = worker * 1_000_000 + step
            yield number, partial(write, number=number)
            yield 0, read

    def _noted(self, worker: int, number: int) -> None:
        if number:
            self.written.append(number)
        self.progress[worker] = self.progress.get(worker, 0) + 1

    def _loop(self, worker: int, db: Database) -> None:
        for number, step in self._steps(worker):
            try:
                db.unit(read_only=not number).run(step)
            except Exception as error:
                self.errors.append(error)
            else:
                self._noted(worker, number)

    async def _tasks(self) -> None:
        async with AsyncDatabase(self.url, pool=self.pool) as db:
            await asyncio.gather(*(self._task(worker, db) for worker in range(WORKERS)))

    async def _task(self, worker: int, db: AsyncDatabase) -> None:
        for number, step in self._steps(worker):
            try:
                await db.unit(read_only=not number).run(AsyncSession.run_sync, step)
            except Exception as error:
                self.errors.append(error)
            else:
                self._noted(worker, number)


@contextmanager
def under_load(door: str, url: URL) -> Iterator[Load]:
    load = Load(door, url)
    thread = threading.Thread(target=load.work)
    thread.start()
    try:
        load.moves()
        yield load
        load.moves()
    finally:
        load.stop()
        thread.join(60)


def balances(server: EmbeddedServer, load: Load) -> None:
    assert load.errors == []
    rows = [row[0] for row in admin(server, "SELECT n FROM ledger")]
    assert len(rows) == len(set(rows))
    assert sorted(rows) == sorted(load.written)


def prepare(server: EmbeddedServer) -> None:
    admin(server, "DROP TABLE IF EXISTS ledger")
    admin(server, "CREATE TABLE ledger (n bigint)")


def kill_all(server: EmbeddedServer) -> None:
    for _ in range(5):
        for pid in application_backends(server):
            admin(server, "SELECT pg_terminate_backend(%s)", pid)
        time.sleep(0.1)


def crash_one(server: EmbeddedServer) -> None:
    os.kill(random.choice(application_backends(server)), signal.SIGKILL)
    time.sleep(0.5)


def crash(server: EmbeddedServer) -> None:
    server.kill()
    server.start()


def stay_away(server: EmbeddedServer) -> None:
    server.halt("immediate")
    time.sleep(1.5)
    server.start()


FAULTS: dict[str, Callable[[EmbeddedServer], object]] = {
    "all backends killed, five times": kill_all,
    "one backend crashed": crash_one,
    "restarted": lambda server: server.restart("fast"),
    "restarted at once": lambda server: server.restart("immediate"),
    "crashed": crash,
    "away": stay_away,
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("door", DOORS)
def test_the_application_sees_nothing(door: str, server: EmbeddedServer, fault: str) -> None:
    prepare(server)
    with under_load(door, server.url()) as load:
        FAULTS[fault](server)
    balances(server, load)


@pytest.mark.soak
@pytest.mark.parametrize("door", DOORS)
def test_the_application_sees_nothing_for_a_minute(door: str, server: EmbeddedServer) -> None:
    prepare(server)
    with under_load(door, server.url()) as load:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            FAULTS[random.choice(list(FAULTS))](server)
            load.moves()
            time.sleep(1)
    balances(server, load)


@pytest.mark.parametrize("door", DOORS)
def test_a_demoted_primary_is_left_for_the_other_host(door: str) -> None:
    settings = {"max_connections": "60", "synchronous_commit": "on"}
    with EmbeddedServer(tcp=True, settings=settings) as first:
        prepare(first)
        with first.basebackup(tcp=True, settings=settings) as second:
            url = first.url().set(host=None, port=None)
            hosts = [f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"]
            url = url.update_query_dict({"host": hosts, "target_session_attrs": "read-write"})
            with under_load(door, url) as load:
                demote(first)
                caught_up(first, second)
                second.promote()
            balances(second, load)


def demote(server: EmbeddedServer) -> None:
    admin(server, "ALTER SYSTEM SET default_transaction_read_only = on")
    admin(server, "SELECT pg_reload_conf()")
    time.sleep(0.3)


def caught_up(first: EmbeddedServer, second: EmbeddedServer) -> None:
    # Whoever began before is done by now: nothing is written that the other host will not have.
    until(lambda: not admin(first, "SELECT 1 FROM pg_stat_activity WHERE backend_xid IS NOT NULL"))
    end = admin(first, "SELECT pg_current_wal_flush_lsn()")[0][0]
    until(lambda: admin(second, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", end)[0][0])


def test_a_conninfo_of_several_hosts_is_understood(server: EmbeddedServer) -> None:
    closed = URL.create("postgresql+psycopg", "postgres", server.password, database="postgres")
    url = closed.update_query_dict({"host": ["127.0.0.1:1", f"127.0.0.1:{server.port}"], "target_session_attrs": "read-write"})
    with Database(url) as db:
        assert db.run(lambda session: session.scalar(text("SELECT 7"))) == 7
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"host=127.0.0.1 port=1 user=postgres password={server.password}")
