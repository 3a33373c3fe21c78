"""Batches while the server is killed: each future that said yes is a row, each that said no is none, none twice."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy.engine import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import AsyncBatchWriter, AsyncDatabase, BatchWriter, Database, PoolConfig
from dal.embedded import EmbeddedServer
from dal.errors import CommitUnknown
from tests.database.doors import DOORS
from tests.faults.conftest import admin, application_backends
from tests.faults.cuts import CUTS, CommitProxy

WORKERS = 8
POOL = PoolConfig(min_pool_size=1, max_pool_size=4, retry_delay="100ms", retry_attempts=5)


class Base(DeclarativeBase):
    pass


class Entry(Base):
    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int]


@dataclass
class Submitters:
    """Workers that submit rows until they are stopped, and note what each future said."""

    door: str
    url: URL
    yes: list[tuple[int, int]] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Submitters:
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive()

    def succeed(self, rows: int) -> None:
        """Let them go on until so many more futures said yes."""
        wanted = len(self.yes) + rows
        _until(lambda: len(self.yes) >= wanted)

    def balance(self, server: EmbeddedServer) -> None:
        """Compare what the futures said with what is there."""
        rows = admin(server, "SELECT id, n FROM entries")
        there = {n: id_ for id_, n in rows}
        assert len(there) == len(rows), "a row is there twice"
        assert {n: id_ for id_, n in self.yes}.items() <= there.items(), "a row that was promised is not there"
        assert not there.keys() & set(self.no), "a row that was refused is there"
        assert there.keys() <= {n for _, n in self.yes} | set(self.unknown)

    def _work(self) -> None:
        if self.door == "sync":
            with (
                Database(self.url, pool=POOL) as db,
                BatchWriter(db, Entry, size=50, interval="20ms") as writer,
                ThreadPoolExecutor(WORKERS) as threads,
            ):
                list(threads.map(lambda worker: self._submit(writer, worker), range(WORKERS)))
        else:
            asyncio.run(self._tasks())

    def _numbers(self, worker: int) -> Iterator[int]:
        n = worker * 10_000_000
        while not self._stop.is_set():
            n += 1
            yield n

    def _submit(self, writer: BatchWriter[Entry], worker: int) -> None:
        for n in self._numbers(worker):
            future = writer.submit(Entry(n=n))
            self._note(n, future.exception(120), future)

    async def _tasks(self) -> None:
        async with AsyncDatabase(self.url, pool=POOL) as db, AsyncBatchWriter(db, Entry, size=50, interval="20ms") as writer:
            await asyncio.gather(*(self._task(writer, worker) for worker in range(WORKERS)))

    async def _task(self, writer: AsyncBatchWriter[Entry], worker: int) -> None:
        for n in self._numbers(worker):
            future = writer.submit(Entry(n=n))
            await asyncio.wait([future])
            self._note(n, future.exception(), future)

    def _note(self, n: int, error: BaseException | None, future: Any) -> None:
        if error is None:
            self.yes.append((future.result().id, n))
        elif isinstance(error, CommitUnknown):
            self.unknown.append(n)
        else:
            self.no.append(n)


def _until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not met():
        assert time.monotonic() < end, "nothing goes on"
        time.sleep(0.01)


def prepare(server: EmbeddedServer) -> None:
    admin(server, "DROP TABLE IF EXISTS entries")
    admin(server, "CREATE TABLE entries (id bigserial PRIMARY KEY, n bigint NOT NULL)")


def kill_backends(server: EmbeddedServer) -> None:
    for pid in application_backends(server):
        admin(server, "SELECT pg_terminate_backend(%s)", pid)


def crash(server: EmbeddedServer) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("fault", [kill_backends, crash])
@pytest.mark.parametrize("door", DOORS)
def test_what_was_said_is_so(door: str, server: EmbeddedServer, fault: Callable[[EmbeddedServer], None]) -> None:
    prepare(server)
    with Submitters(door, server.url()) as submitters:
        for _ in range(2):
            submitters.succeed(100)
            fault(server)
        submitters.succeed(100)
    submitters.balance(server)
    if fault is kill_backends:
        assert not submitters.unknown


@pytest.mark.parametrize("door", DOORS)
def test_a_commit_whose_reply_is_lost(door: str, server: EmbeddedServer) -> None:
    prepare(server)
    assert server.port is not None
    with CommitProxy(server.port) as proxy:
        with Submitters(door, server.url().set(port=proxy.port)) as submitters:
            for cut in CUTS * 2:
                proxy.cut = cut
                submitters.succeed(20)
                _until(lambda: proxy.cut is None)
        assert proxy.cuts == 2 * len(CUTS)
    submitters.balance(server)
    assert not submitters.unknown


@pytest.mark.soak
@pytest.mark.parametrize("door", DOORS)
def test_the_server_is_killed_every_second_for_half_a_minute(door: str, server: EmbeddedServer) -> None:
    prepare(server)
    with Submitters(door, server.url()) as submitters:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            random.choice([kill_backends, crash])(server)
            time.sleep(1)
        submitters.succeed(100)
    submitters.balance(server)
    print(f"yes {len(submitters.yes)}, no {len(submitters.no)}, unknown {len(submitters.unknown)}")
