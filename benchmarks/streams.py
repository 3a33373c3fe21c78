"""Change streams: how many changes a second become typed values on one core, and how long one is under way.

Run it with `python benchmarks/streams.py`; it starts its own server, with wal_level=logical. Decoding is measured in CPU
seconds of this process, so that a busy machine changes little; the peer is the least that any consumer on psycopg has to do:
take the same messages from the connection and look at none of them. Latency is from the server's clock in the row to the
moment the loop has the change, beside LISTEN/NOTIFY with the same row in its payload, in turn. The outbox's cost to a writer
is a ratio to writing without triggers.
"""

from __future__ import annotations

import datetime as dt
import gc
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg
from sqlalchemy import DateTime, Engine, Numeric, String, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import BulkWriter, Change, Changes, Database, Flow, count_of, sum_of
from dal.embedded import EmbeddedServer
from dal.streams.options import SlotOptions
from dal.streams.registry import ALL_KINDS
from dal.streams.shapes import shapes_of
from dal.streams.slot_source import SlotSource
from dal.streams.waiting import ThreadWaiting

ROWS, PINGS = 200_000, 300
SETTINGS = {"wal_level": "logical", "max_wal_size": "4GB", "max_replication_slots": "10", "max_wal_senders": "10"}


class Base(DeclarativeBase): ...


class Sale(Base):
    __tablename__ = "sales"

    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[str] = mapped_column(String(20))
    total: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    paid: Mapped[bool]
    at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))


class SaleCopy(Base):
    __tablename__ = "sale_copies"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shop: Mapped[str] = mapped_column(String(20))
    total: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    paid: Mapped[bool]
    at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))


FILL = f"""
INSERT INTO sales SELECT i, 'shop ' || i % 50, i * 1.25, i % 3 = 0, clock_timestamp() FROM generate_series(1, {ROWS}) i"""


def commit(engine: Engine, statement: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(statement))


def cpu_of(read: Callable[[], int]) -> float:
    """Read everything; return CPU seconds."""
    gc.collect()
    started = time.process_time()
    seen = 0
    while seen < ROWS:
        seen += read()
    return time.process_time() - started


def decoding(db: Database) -> bool:
    """Read the same transaction of many rows in both ways, in turn."""
    raw, typed = [], []
    for number in range(4):
        sources = [
            SlotSource(db.engine, shapes_of([Sale]), f"bench_{kind}", SlotOptions(kinds=frozenset(ALL_KINDS)), ThreadWaiting())
            for kind in ("raw", "typed")
        ]
        for source in sources:
            source.prepare()
        commit(db.engine, "TRUNCATE sales")
        commit(db.engine, FILL)
        for source, times in sorted(zip(sources, (raw, typed), strict=True), key=lambda _: number % 2):
            source.start(None)
            times.append(cpu_of((lambda: untouched(source)) if times is raw else lambda: len(source.read(2_000, 10))))  # noqa: B023
            source.drop()
    rate, bare = ROWS / statistics.median(typed), ROWS / statistics.median(raw)
    print(
        f"\ndecoding {ROWS:,} inserts of 5 columns (integer, text, numeric, boolean, timestamptz), CPU seconds of this process"
    )
    print(f"{'':34}{'median s':>10}{'changes/s':>12}{'limit':>12}")
    print(f"{'messages taken, none looked at':34}{statistics.median(raw):10.2f}{bare:12,.0f}")
    met = rate >= 100_000
    print(f"{'typed changes':34}{statistics.median(typed):10.2f}{rate:12,.0f}{'>= 100,000':>12}{'' if met else '   MISSED'}")
    return met


def untouched(source: SlotSource) -> int:
    """Take what came and count it."""
    wire: Any = source._link.wire
    seen = 0
    while True:
        count, data = wire.conn.get_copy_data(1)
        if count <= 0:
            wire.wait(10)
            return seen
        if bytes(data)[25:26] == b"I":
            seen += 1


@contextmanager
def running(work: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def latency(db: Database, url: URL) -> bool:
    """Commit one row at a time; see when a loop has it, and when a NOTIFY with its time has come."""
    streamed: list[float] = []
    notified: list[float] = []
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)

    def listen() -> None:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("LISTEN sales")
            ready.set()
            for note in connection.notifies():
                notified.append((time.time() - float(note.payload)) * 1000)
                if len(notified) == PINGS:
                    return

    def stream(changes: list[Change]) -> None:
        now = time.time()
        streamed.extend((now - change.new["at"].timestamp()) * 1000 for change in changes if change.new)

    ready = threading.Event()
    flow = db.changes(Sale, name="latency").to(stream)
    with running(listen):
        ready.wait()
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for number in range(PINGS):
                row = f"INSERT INTO sales VALUES ({10**7 + number}, 'a', 1, true, clock_timestamp())"
                connection.execute(text(row))
                connection.execute(text("SELECT pg_notify('sales', extract(epoch FROM clock_timestamp())::text)"))
                time.sleep(0.003)
    deadline = time.monotonic() + 20
    while len(streamed) < PINGS and time.monotonic() < deadline:
        time.sleep(0.01)
    flow.stop()
    db.changes(Sale, name="latency").drop()
    print(f"\nfrom commit to consumer, {PINGS} transactions of one row, milliseconds")
    print(f"{'':34}{'p50':>10}{'p99':>12}{'limit p50':>12}")
    for name, times in (("LISTEN/NOTIFY, psycopg", notified), ("change stream", streamed)):
        shown = f"{name:34}{statistics.median(times):10.2f}{sorted(times)[int(len(times) * 0.99)]:12.2f}"
        print(shown + (f"{'<= 3':>12}" if times is streamed else ""))
    return len(streamed) == PINGS and statistics.median(streamed) <= 3


def flows(db: Database) -> None:
    """Whole flows over one transaction of many rows: into windows, and into a table exactly once."""
    print(f"\nflows over one transaction of {ROWS:,} rows, wall-clock seconds, this process and the server on one machine")
    for name, flow_of in (("filter, windows by shop", windows), ("a copy of the table, exactly once", copy)):
        changes = db.changes(Sale, name="flow")
        changes.create()
        commit(db.engine, "TRUNCATE sales")
        commit(db.engine, FILL)
        started = time.perf_counter()
        flow = flow_of(db, changes)
        while flow.stats().read < ROWS and time.perf_counter() - started < 120:
            flow.wait(0.02)
        taken = time.perf_counter() - started
        flow.stop()
        changes.drop()
        print(f"{name:34}{taken:10.2f}{ROWS / taken:12,.0f}/s")


def windows(db: Database, changes: Changes) -> Flow:
    """Sum up by shop, in windows of 10,000 sales."""
    inserts = changes.filter(lambda change: change.kind == "insert")
    aggregate = {"total": sum_of("total"), "sales": count_of()}
    results = inserts.window(seconds=10, by="shop", at=lambda change: change.key / 1000, lateness=0, aggregate=aggregate)
    return results.to(lambda rows: None)


def copy(db: Database, changes: Changes) -> Flow:
    """Keep a copy."""
    return changes.to(BulkWriter(db, SaleCopy))


def outbox(db: Database) -> None:
    """What triggers cost a writer."""
    insert = "INSERT INTO sales SELECT {0} + i, 'a', 1, true, now() FROM generate_series(1, 5000) i"
    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(6):
        watched = bool(number % 2)
        changes = db.changes(Sale, name="outbox", via="outbox")
        if watched:
            changes.create()
        started = time.perf_counter()
        commit(db.engine, insert.format(2 * 10**7 + number * 10_000))
        times[watched].append(time.perf_counter() - started)
        if watched:
            changes.drop()
    ratio = statistics.median(times[True]) / statistics.median(times[False])
    print(f"\nan insert of 5,000 rows with the outbox's triggers takes {ratio:.1f} x as long as without")


def main() -> None:
    wanted = set(sys.argv[1:]) or {"decoding", "latency", "flows", "outbox"}
    with EmbeddedServer(temporary=True, settings={**SETTINGS, "synchronous_commit": "on"}) as server:
        url = server.url()
        with Database(url) as db:
            Base.metadata.create_all(db.engine)
            met = [decoding(db)] if "decoding" in wanted else []
            met += [latency(db, url)] if "latency" in wanted else []
            if "flows" in wanted:
                flows(db)
            if "outbox" in wanted:
                outbox(db)
    if not all(met):
        raise SystemExit("a limit was missed")


if __name__ == "__main__":
    main()
