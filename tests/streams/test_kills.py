"""Consumers and servers that are killed: nothing is lost, nothing comes out of order, and a table has each row once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dal import BulkWriter, Database, Position
from dal.embedded import EmbeddedServer
from tests.streams.conftest import POOL, until
from tests.streams.consumer import seen
from tests.streams.models import Base, Counted, Order, Seen

ROOT = Path(__file__).parents[2]
KILLS = [2, pytest.param(50, marks=pytest.mark.soak)]
SERVER_KILLS = [1, pytest.param(10, marks=pytest.mark.soak)]


def start(url: URL, *arguments: str) -> subprocess.Popen[bytes]:
    shown = url.render_as_string(hide_password=False)
    return subprocess.Popen([sys.executable, "-m", "tests.streams.consumer", shown, *arguments], cwd=ROOT)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


@contextmanager
def orders(db: Database) -> Iterator[None]:
    """Write orders, some in one transaction, some changed and some deleted, as long as the block runs."""
    stop = threading.Event()

    def some(session: Session, batch: int) -> None:
        for each in range(1 + batch % 7):
            session.add(Order(id=batch * 10 + each, shop="ab"[batch % 2], total=each))
        session.flush()
        if batch % 3 == 0:
            session.get_one(Order, batch * 10).paid = True

    def write() -> None:
        for batch in range(1, 1_000_000):
            db.run(some, batch)
            if stop.wait(0.002):
                return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def alive(db: Database, name: str, reader: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until the stream is read; a reader that has ended never will: what it said is in the captured stderr."""
    active = text(
        "SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name LIKE :name AND database = current_database()"
    )
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        until(lambda: _ended(reader) or connection.scalar(active, {"name": f"dal_%_{name}"}), seconds=60)
    assert not _ended(reader)


def kinds(db: Database) -> Counter[tuple[int, str]]:
    """What has happened, by the table itself."""
    with db.session() as session:
        found = session.execute(select(Order.id, Order.paid)).all()
    return Counter((each, kind) for each, paid in found for kind in (("insert", "update") if paid else ("insert",)))


def written(db: Database) -> Counter[tuple[int, str]]:
    with db.session() as session:
        return Counter((key, kind) for key, kind in session.execute(select(Seen.order_id, Seen.kind)))


def read_in(path: Path) -> list[tuple[Position, str, int]]:
    lines = [line.split() for line in path.read_text().splitlines() if line.count(" ") == 2]
    return [(Position.parse(place), kind, int(key)) for place, kind, key in lines]


def counted(db: Database) -> int:
    with db.session() as session:
        return session.scalar(select(func.coalesce(func.sum(Counted.orders), 0))) or 0


@pytest.mark.parametrize("kills", KILLS)
def test_consumers_that_are_killed(db: Database, url: URL, tmp_path: Path, kills: int) -> None:
    """A loop loses nothing and keeps the order; a table gets each row once; windows count each item once."""
    for name in ("loop", "seen", "counted"):
        db.changes(Order, name=name).create()
    path = tmp_path / "read"
    pause = random.Random(kills)
    with orders(db):
        for _ in range(kills):
            process = start(url, str(path))
            alive(db, "loop", process)
            time.sleep(pause.uniform(0.0, 0.5))
            kill(process)
    wanted = kinds(db)
    process = start(url, str(path))
    try:
        until(lambda: {(key, kind) for _, kind, key in read_in(path)} == set(wanted), seconds=60)
        until(lambda: sum(written(db).values()) >= wanted.total() and counted(db) >= wanted.total(), seconds=60)
    finally:
        kill(process)
    once = {place: (kind, key) for place, kind, key in read_in(path)}
    assert Counter((key, kind) for kind, key in once.values()) == wanted
    assert list(once) == sorted(once), "what came first came first"
    inserts = [key for kind, key in once.values() if kind == "insert"]
    assert inserts == sorted(inserts)
    assert written(db) == wanted
    assert counted(db) == wanted.total()
    with db.session() as session:
        told = session.execute(select(Counted.shop, Counted.window_start)).all()
    assert len(told) == len(set(told)), "each window is told once"
    for name in ("loop", "seen", "counted"):
        db.changes(Order, name=name).drop()


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT)])
def test_a_program_that_is_told_to_stop(db: Database, url: URL, how: signal.Signals, code: int) -> None:
    process = start(url)
    alive(db, "seen", process)
    alive(db, "counted", process)
    until(lambda: _catches_sigterm(process.pid))
    process.send_signal(how)
    assert process.wait(20) == code
    for name in ("seen", "counted"):
        db.changes(Order, name=name).drop()


@pytest.mark.parametrize("kills", SERVER_KILLS)
def test_a_server_that_is_killed(tmp_path: Path, kills: int) -> None:
    durable = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "on")
    settings = {"wal_level": "logical", "max_replication_slots": "4", **durable}
    with EmbeddedServer(tmp_path / "data", settings=settings) as server, Database(server.url(), pool=POOL) as db:
        Base.metadata.create_all(db.engine)
        read: list[tuple[Position, str, int]] = []
        log = db.changes(Order, name="log").to(
            lambda items: read.extend((each.position, each.kind, each.key) for each in items)
        )
        flow = db.changes(Order, name="seen").map(seen).to(BulkWriter(db, Seen))
        pause = random.Random(kills)
        with orders(db):
            for _ in range(kills):
                time.sleep(pause.uniform(0.1, 0.5))
                server.kill()
                server.start()
                alive(db, "seen")
        wanted = kinds(db)
        until(lambda: sum(written(db).values()) >= sum(wanted.values()) and len(read) >= sum(wanted.values()), seconds=60)
        assert written(db) == wanted
        assert Counter((key, kind) for _, kind, key in read) == wanted, "one consumer, one process: nothing comes twice"
        assert [place for place, _, _ in read] == sorted(place for place, _, _ in read)
        assert flow.stop()
        assert log.stop()
    assert not [each for each in threading.enumerate() if each.name.startswith("dal ")]


def test_a_server_that_is_stopped_is_not_held_up(tmp_path: Path) -> None:
    """A consumer that has not acknowledged what it read would hold up a shutdown for good."""
    with (
        EmbeddedServer(tmp_path / "data", settings={"wal_level": "logical"}) as server,
        Database(server.url(), pool=POOL) as db,
    ):
        Base.metadata.create_all(db.engine)
        changes = db.changes(Order, name="held")
        changes.create()
        with db.transaction() as session:
            session.add(Order(id=1, shop="a", total=1))
        read = []
        arrived = threading.Event()

        def consume() -> None:
            for change in changes:
                read.append(change.key)
                arrived.set()

        thread = threading.Thread(target=consume)
        thread.start()
        assert arrived.wait(20)
        began = time.monotonic()
        server.restart()
        assert time.monotonic() - began < 30
        with db.transaction() as session:
            session.add(Order(id=2, shop="a", total=1))
        until(lambda: 2 in read)
        assert read == [1, 2]
        db.close()
        thread.join()


def _ended(reader: subprocess.Popen[bytes] | None) -> bool:
    return reader is not None and reader.poll() is not None


def _catches_sigterm(pid: int) -> bool:
    """Tell whether `run()` has begun; only Linux tells, elsewhere it soon will have."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        time.sleep(1.0)
        return True
    caught = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)
