"""A minute of random kills, restarts, freezes and cancellations: what was acknowledged is there, what failed is not."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from dal.asyncio.pool import AsyncConnectionPool
from dal.embedded import EmbeddedServer
from dal.errors import ServerError
from dal.pool import ConnectionPool
from tests.faults.conftest import admin, application_backends, until

INSERT = text("INSERT INTO ledger (number) VALUES (:number)")


@dataclass
class Ledger:
    """What the application was told about each of its writes."""

    acknowledged: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    in_doubt: set[int] = field(default_factory=set)

    def balance(self, rows: set[int]) -> None:
        assert not self.acknowledged - rows, "acknowledged and lost"
        assert not self.failed & rows, "failed and applied"
        assert not rows - self.acknowledged - self.in_doubt, "applied and unheard of"


def write_in_thread(url: URL, settings: dict[str, object], ledger: Ledger, stop: threading.Event) -> None:
    engine = create_engine(url, poolclass=ConnectionPool, **settings)
    assert isinstance(engine.pool, ConnectionPool)

    def work(seed: int) -> None:
        number = seed
        while not stop.is_set():
            number += 1000
            sent = False
            try:
                with engine.connect() as connection:
                    connection.execute(INSERT, {"number": number})
                    sent = True
                    connection.commit()
            except SQLAlchemyError:
                (ledger.in_doubt if sent else ledger.failed).add(number)
                time.sleep(0.005)
            else:
                ledger.acknowledged.add(number)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    stats = engine.pool.stats()
    assert (stats.in_use, stats.waiting) == (0, 0)
    assert len([engine.connect() for _ in range(stats.max_size)]) == stats.max_size
    engine.pool.close(timeout=0.1)


async def write_in_tasks(url: URL, settings: dict[str, object], ledger: Ledger, stop: threading.Event) -> None:
    engine = create_async_engine(url, poolclass=ConnectionPool, **settings)
    chance = random.Random(5)

    async def write(number: int) -> None:
        sent = False
        try:
            async with engine.connect() as connection:
                await connection.execute(INSERT, {"number": number})
                sent = True
                await connection.commit()
        except (SQLAlchemyError, asyncio.CancelledError):
            (ledger.in_doubt if sent else ledger.failed).add(number)
            await asyncio.sleep(0.005)
        else:
            ledger.acknowledged.add(number)

    async def work(seed: int) -> None:
        number = 500 + seed
        while not stop.is_set():
            number += 1000
            task = asyncio.create_task(write(number))
            if chance.random() < 0.1:
                await asyncio.sleep(chance.random() * 0.004)
                task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            if task.cancelled() and number not in ledger.failed | ledger.in_doubt:
                ledger.failed.add(number)

    await asyncio.gather(*(work(seed) for seed in range(16)))
    pool = AsyncConnectionPool(engine)
    stats = pool.stats()
    assert (stats.in_use, stats.waiting) == (0, 0)
    held = [await engine.connect().__aenter__() for _ in range(stats.max_size)]
    for connection in held:
        await connection.close()
    await pool.close(timeout=1)


def disturb(server: EmbeddedServer, seconds: float) -> dict[str, int]:
    """Do harm at random moments for some seconds, and count it."""
    chance = random.Random(11)
    done = dict.fromkeys(("kill", "freeze", "restart"), 0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(chance.uniform(0.05, 0.6))
        kind = chance.choices(list(done), weights=[6, 3, 1])[0]
        with suppress(psycopg.OperationalError, ProcessLookupError):
            if kind == "restart":
                server.restart("immediate")
            else:
                victims = application_backends(server)
                for one in chance.sample(victims, min(len(victims), 3)):
                    if kind == "kill":
                        admin(server, "SELECT pg_terminate_backend(%s)", one)
                    else:
                        with frozen(one):
                            time.sleep(chance.uniform(0.05, 0.4))
        done[kind] += 1
    return done


@contextmanager
def frozen(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("seconds", [4.0, pytest.param(60.0, marks=pytest.mark.soak)])
def test_the_ledger_balances_to_the_row(server: EmbeddedServer, seconds: float) -> None:
    admin(server, "CREATE TABLE IF NOT EXISTS ledger (number bigint)")
    admin(server, "TRUNCATE ledger")
    settings: dict[str, object] = {
        "min_pool_size": 4,
        "max_pool_size": 8,
        "connection_timeout": "20s",
        "validation_timeout": "300ms",
        "keepalive": "1s",
        "max_lifetime": "5s",
    }
    ledger, stop = Ledger(), threading.Event()
    errors: list[BaseException] = []

    def guarded(run: object, *arguments: object) -> None:
        try:
            run(*arguments)  # type: ignore[operator]
        except BaseException as error:
            errors.append(error)

    sides = [
        threading.Thread(target=guarded, args=(write_in_thread, server.url(), settings, ledger, stop)),
        threading.Thread(target=guarded, args=(lambda: asyncio.run(write_in_tasks(server.url(), settings, ledger, stop)),)),
    ]
    for side in sides:
        side.start()
    try:
        harm = disturb(server, seconds)
        until(lambda: _answers(server))
        time.sleep(0.5)
    finally:
        stop.set()
        for side in sides:
            side.join(60)
    assert not errors, errors
    assert sum(harm.values()) > seconds / 2
    rows = [number for (number,) in admin(server, "SELECT number FROM ledger")]
    assert len(rows) == len(set(rows)), "applied twice"
    assert len(ledger.acknowledged) > 100 * seconds / 4
    ledger.balance(set(rows))


def _answers(server: EmbeddedServer) -> bool:
    try:
        admin(server, "SELECT 1")
    except (psycopg.OperationalError, ServerError):
        return False
    return True
