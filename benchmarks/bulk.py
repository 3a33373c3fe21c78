r"""BulkWriter beside what else writes rows: ratios of paired rounds in one run, on PostgreSQL, all over the unix socket.

Peers: `psql \copy` from a ready CSV file (where psql is found), psycopg's COPY by hand, SQLAlchemy's insertmanyvalues and
add_all, asyncpg's copy_records_to_table, ADBC; for upsert, update and delete the same work done wholly inside the server, from
a table that has the rows already, and SQLAlchemy's executemany.
Run it with `python benchmarks/bulk.py [insert|ids|flush|upsert|update|delete|rejects|switch] [--rows=200000] [--rounds=5]`; it
starts its own server. Each round goes through the variants in turn, in changing order, on a table emptied and a server
checkpointed before each; a ratio is the median of the ratios of the rounds, and rows are counted after each. Higher is better.
Rows of an upsert come in the order of their key, and shuffled; its floor is what the server alone needs to take them in from a
ready file of its own and write them: no client does better by a staging table. The slow peers get a twentieth of the rows. JSON
is written by orjson, on both sides.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import datetime as dt
import gc
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from sqlalchemy import BigInteger, Boolean, DateTime, Numeric, Text, create_engine, insert, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dal import BulkWriter
from dal.bulk import few
from dal.bulk.flush import bulk_flush, emitting
from dal.embedded import EmbeddedServer

SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "fsync": "on", "autovacuum": "off"}
KINDS = ("insert", "upsert", "update", "delete")
SLOW = 20
"""The part of the rows that slow peers get is one in so many; their times are multiplied."""


class Base(DeclarativeBase): ...


class Item(Base):
    __tablename__ = "bt"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    email: Mapped[str] = mapped_column(Text, unique=True)
    amount: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    doc: Mapped[dict[str, Any]] = mapped_column(JSONB)
    ok: Mapped[bool] = mapped_column(Boolean)


NAMES = ["id", "name", "email", "amount", "at", "doc", "ok"]
COLUMNS = [getattr(Item, name) for name in NAMES]


@dataclass
class Plain:
    id: int
    name: str
    email: str
    amount: Decimal
    at: dt.datetime
    doc: dict[str, Any]
    ok: bool


def made(number: int, start: int = 0) -> list[tuple[Any, ...]]:
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return [
        (
            each + 1,
            f"name of number {each}",
            f"user{each:07}@example.org",
            Decimal(each % 100_000) / 100,
            at + dt.timedelta(seconds=each),
            {"n": each, "tags": ["a", "b"], "note": f"note {each}"},
            each % 3 == 0,
        )
        for each in range(start, start + number)
    ]


def as_dicts(rows: list[tuple[Any, ...]], names: list[str] = NAMES) -> list[dict[str, Any]]:
    places = [NAMES.index(name) for name in names]
    return [{name: row[place] for name, place in zip(names, places, strict=True)} for row in rows]


def as_arrow(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns: list[Any] = [list(column) for column in zip(*rows, strict=True)]
    columns[5] = [orjson.dumps(each).decode() for each in columns[5]]
    types = [pa.int64(), pa.string(), pa.string(), pa.decimal128(12, 2), pa.timestamp("us", "UTC"), pa.string(), pa.bool_()]
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names=NAMES)


@dataclass
class Bench:
    """What the sections share.

    Args:
        engine: SQLAlchemy's.
        conninfo: libpq's.
        number: Rows.
        rounds: Measured rounds.
        folder: For files.
    """

    engine: Engine
    conninfo: str
    number: int
    rounds: int
    folder: Path

    def run(self, statement: str) -> None:
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(statement))

    def count(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.scalar(text("SELECT count(*) FROM bt")) or 0)

    def paired(
        self, works: Mapping[str, tuple[Callable[[], Any], int]], prepare: Callable[[], None], left: Callable[[int], int]
    ) -> dict[str, list[float]]:
        """Run variants in turn; return seconds by round, those of a part of the rows multiplied."""
        names = list(works)
        taken: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(self.rounds):
            names = names[1:] + names[:1]
            for name in names:
                work, part = works[name]
                prepare()
                self.run("CHECKPOINT")
                gc.collect()
                started = time.perf_counter()
                work()
                taken[name].append((time.perf_counter() - started) * part)
                assert self.count() == left(part), (name, self.count(), left(part))
        return taken


def told(title: str, taken: Mapping[str, list[float]], base: str, number: int, limits: Mapping[str, float]) -> bool:
    ratios = {
        name: statistics.median(one / other for one, other in zip(taken[base], times, strict=True))
        for name, times in taken.items()
    }
    print(f"\n{title}\n  {'':38} {'s':>8} {'rows/s':>10} {'x ' + base:>28} {'limit':>8}")
    for name, ratio in sorted(ratios.items(), key=lambda each: -each[1]):
        seconds = statistics.median(taken[name])
        limit = limits.get(name)
        verdict = "" if limit is None else f"{limit:8.2f} {'ok' if ratio >= limit else 'MISSED'}"
        print(f"  {name:38} {seconds:8.3f} {number / seconds:10,.0f} {ratio:28.2f} {verdict}")
    return all(ratios[name] >= limit for name, limit in limits.items())


def psycopg_staged(bench: Bench, rows: list[tuple[Any, ...]], statement: str) -> None:
    """The least that an upsert of rows of a client's costs: a COPY into a temporary table, and the statement."""
    with bench.engine.begin() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute("CREATE TEMP TABLE given ON COMMIT DROP AS SELECT * FROM bt WITH NO DATA")
        with driver.cursor() as cursor, cursor.copy(f"COPY given ({', '.join(NAMES)}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int8", "text", "text", "numeric", "timestamptz", "jsonb", "bool"])
            for row in rows:
                copy.write_row(row)
        driver.execute(statement)


def psycopg_copy(bench: Bench, rows: list[tuple[Any, ...]]) -> None:
    with bench.engine.begin() as connection:
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY bt ({', '.join(NAMES)}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int8", "text", "text", "numeric", "timestamptz", "jsonb", "bool"])
            for row in rows:
                copy.write_row(row)


def asyncpg_copy(bench: Bench, rows: list[tuple[Any, ...]], options: Mapping[str, Any]) -> None:
    import asyncpg

    async def copy() -> None:
        connection = await asyncpg.connect(**options)
        await connection.set_type_codec(
            "jsonb",
            schema="pg_catalog",
            format="binary",
            encoder=lambda value: b"\x01" + orjson.dumps(value),
            decoder=lambda data: orjson.loads(data[1:]),
        )
        await connection.copy_records_to_table("bt", records=rows, columns=NAMES)
        await connection.close()

    asyncio.run(copy())


def adbc_ingest(bench: Bench, table: pa.Table) -> None:
    import adbc_driver_postgresql.dbapi as adbc

    documents = pa.ExtensionArray.from_storage(pa.json_(pa.utf8()), table.column("doc").combine_chunks())
    ready = table.set_column(5, "doc", documents)
    with adbc.connect(bench.conninfo) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("bt", ready, mode="append")
        connection.commit()


def core_insert(bench: Bench, rows: list[dict[str, Any]]) -> None:
    with bench.engine.begin() as connection:
        connection.execute(insert(Item.__table__), rows)  # type: ignore[arg-type]


def core_returning(bench: Bench, rows: list[dict[str, Any]]) -> None:
    with bench.engine.begin() as connection:
        statement = insert(Item.__table__).returning(Item.__table__.c.id, sort_by_parameter_order=True)  # type: ignore[arg-type]
        connection.execute(statement, rows).all()


def add_all(bench: Bench, rows: list[dict[str, Any]]) -> None:
    with Session(bench.engine) as session:
        session.add_all([Item(**row) for row in rows])
        session.commit()


def psql_copy(bench: Bench, file: Path) -> None:
    command = f"\\copy bt ({', '.join(NAMES)}) FROM '{file}' (FORMAT csv)"
    subprocess.run(["psql", "-X", "-q", "-d", bench.conninfo, "-c", command], check=True)


def csv_file(bench: Bench, rows: list[tuple[Any, ...]]) -> Path:
    file = bench.folder / "rows.csv"
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows((*row[:5], orjson.dumps(row[5]).decode(), row[6]) for row in rows)
    return file


def inserting(bench: Bench) -> bool:
    rows = made(bench.number)
    dicts, plain, table = as_dicts(rows), [Plain(*row) for row in rows], as_arrow(rows)
    bulk: BulkWriter[Any] = BulkWriter(_Database(bench.engine), Item)
    url = bench.engine.url
    options = {"user": url.username, "database": url.database, "host": url.query["host"], "port": url.query.get("port", 5432)}
    works: dict[str, tuple[Callable[[], Any], int]] = {
        "psycopg COPY binary, by hand": (lambda: psycopg_copy(bench, rows), 1),
        "BulkWriter, tuples": (lambda: bulk.insert(rows, columns=COLUMNS), 1),
        "BulkWriter, dicts": (lambda: bulk.insert(dicts), 1),
        "BulkWriter, dataclasses": (lambda: bulk.insert(plain), 1),
        "BulkWriter, Arrow": (lambda: bulk.insert(table), 1),
        "asyncpg copy_records_to_table": (lambda: asyncpg_copy(bench, rows, options), 1),
        "ADBC ingest": (lambda: adbc_ingest(bench, table), 1),
        "SQLAlchemy insert(), list": (lambda: core_insert(bench, dicts[::1][: bench.number // SLOW]), SLOW),
        "SQLAlchemy add_all": (lambda: add_all(bench, dicts[: bench.number // SLOW]), SLOW),
    }
    objects: list[Item] = []

    def entities() -> None:
        bulk.insert(objects)

    works["BulkWriter, ORM objects"] = (entities, 1)
    base = "psycopg COPY binary, by hand"
    if shutil.which("psql"):
        file, base = csv_file(bench, rows), "psql \\copy from CSV"
        works[base] = (lambda: psql_copy(bench, file), 1)

    def prepare() -> None:
        bench.run("TRUNCATE bt RESTART IDENTITY")
        objects[:] = [Item(**row) for row in dicts]

    taken = bench.paired(works, prepare, lambda part: bench.number // part)
    limits = {
        "BulkWriter, tuples": 1.0,
        "BulkWriter, dicts": 1.0,
        "BulkWriter, dataclasses": 0.95,
        "BulkWriter, ORM objects": 0.75,
        "BulkWriter, Arrow": 1.0,
    }
    return told(f"insert: {bench.number:,} rows", taken, base, bench.number, limits if base.startswith("psql") else {})


def with_ids(bench: Bench) -> bool:
    rows = as_dicts(made(bench.number), NAMES[1:])
    bulk: BulkWriter[Any] = BulkWriter(_Database(bench.engine), Item)
    works: dict[str, tuple[Callable[[], Any], int]] = {
        "COPY, no ids": (lambda: bulk.insert(rows), 1),
        "BulkWriter, returning=[Item.id]": (lambda: bulk.insert(rows, returning=[Item.id]), 1),
        "SQLAlchemy insert().returning()": (lambda: core_returning(bench, rows[: bench.number // SLOW]), SLOW),
        "SQLAlchemy add_all": (lambda: add_all(bench, rows[: bench.number // SLOW]), SLOW),
    }
    taken = bench.paired(works, lambda: bench.run("TRUNCATE bt RESTART IDENTITY"), lambda part: bench.number // part)
    limits = {"BulkWriter, returning=[Item.id]": 0.70}
    return told(f"insert with ids back: {bench.number:,} rows", taken, "COPY, no ids", bench.number, limits)


def flushing(bench: Bench) -> bool:
    """Show add_all and commit, with and without `bulk_flush`; ids come back in both. Objects are made before the clock runs."""
    kept, emitting.BELOW = emitting.BELOW, 0
    print("\nflush: ms for add_all and commit of new objects, ids back, in an empty table (by itself, COPY begins at 100)")
    print(f"  {'objects':>9} {'add_all':>12} {'bulk_flush':>12} {'x add_all':>10}")
    ratios: dict[int, float] = {}
    for number in (20, 50, 100, 1_000, 10_000, 100_000):
        rows = as_dicts(made(number), NAMES[1:])
        taken: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(max(2, min(30, 20_000 // number))):
            for in_bulk in (False, True):
                bench.run("TRUNCATE bt RESTART IDENTITY")
                objects = [Item(**row) for row in rows]
                gc.collect()
                started = time.perf_counter()
                with Session(bench.engine, expire_on_commit=False) as session:
                    if in_bulk:
                        bulk_flush(session)
                    session.add_all(objects)
                    session.commit()
                taken[in_bulk].append(time.perf_counter() - started)
                assert [each.id for each in objects] == list(range(1, number + 1))
        ratios[number] = statistics.median(one / other for one, other in zip(taken[False], taken[True], strict=True))
        shown = (statistics.median(taken[in_bulk]) * 1000 for in_bulk in (False, True))
        print(f"  {number:9,}" + "".join(f"{each:13,.1f}" for each in shown) + f"{ratios[number]:11.2f}")
    emitting.BELOW = kept
    return all(ratio >= 1.5 for number, ratio in ratios.items() if number >= 1_000)


def _filled(bench: Bench, rows: list[tuple[Any, ...]]) -> Callable[[], None]:
    """Return what puts a table of ready rows back in place of `bt`."""
    bench.run("TRUNCATE bt")
    psycopg_copy(bench, rows)
    bench.run("DROP TABLE IF EXISTS ready")
    bench.run("CREATE TABLE ready AS SELECT * FROM bt")

    def prepare() -> None:
        bench.run("TRUNCATE bt")
        bench.run("INSERT INTO bt SELECT * FROM ready")
        bench.run("VACUUM ANALYZE bt")

    return prepare


def _source(bench: Bench, rows: list[tuple[Any, ...]]) -> None:
    bench.run("DROP TABLE IF EXISTS source")
    bench.run("CREATE TABLE source AS SELECT * FROM bt WITH NO DATA")
    with bench.engine.begin() as connection:
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY source ({', '.join(NAMES)}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int8", "text", "text", "numeric", "timestamptz", "jsonb", "bool"])
            for row in rows:
                copy.write_row(row)
    bench.run("ANALYZE source")


def upserting(bench: Bench) -> bool:
    half = bench.number // 4
    rows = [(*row[:1], f"{row[1]}!", *row[2:]) for row in made(2 * half, bench.number - half)]
    kept = [_upserted(bench, rows, "by key")]
    random.Random(1).shuffle(rows)
    return all([*kept, _upserted(bench, rows, "shuffled")])


def _upserted(bench: Bench, rows: list[tuple[Any, ...]], how: str) -> bool:
    half, dicts = len(rows) // 2, as_dicts(rows)
    prepare = _filled(bench, made(bench.number))
    _source(bench, rows)
    sets = ", ".join(f"{name} = excluded.{name}" for name in NAMES if name not in {"id", "email"})
    inside = f"INSERT INTO bt SELECT * FROM source ON CONFLICT (email) DO UPDATE SET {sets}"
    bench.run(f"COPY source TO '{bench.folder}/source' (FORMAT binary)")
    staged = inside.replace("FROM source", "FROM given ORDER BY email")
    bulk: BulkWriter[Any] = BulkWriter(_Database(bench.engine), Item)

    def floor() -> None:
        with bench.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TEMP TABLE given ON COMMIT DROP AS SELECT * FROM bt WITH NO DATA")
            connection.exec_driver_sql(f"COPY given FROM '{bench.folder}/source' (FORMAT binary)")
            connection.exec_driver_sql(staged)

    def core() -> None:
        statement = pg_insert(Item)
        written = {name: statement.excluded[name] for name in NAMES if name not in {"id", "email"}}
        with bench.engine.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["email"], set_=written), dicts)

    works: dict[str, tuple[Callable[[], Any], int]] = {
        "inside the server": (lambda: bench.run(inside), 1),
        "the floor: staged from a ready file": (floor, 1),
        "psycopg COPY, staged, by hand": (lambda: psycopg_staged(bench, rows, staged), 1),
        "BulkWriter.upsert": (lambda: bulk.upsert(rows, key=[Item.email], columns=COLUMNS), 1),
        "SQLAlchemy ON CONFLICT, list": (core, 1),
    }
    taken = bench.paired(works, prepare, lambda part: bench.number + half)
    return told(
        f"upsert: {half:,} new, {half:,} there, {how}", taken, "inside the server", 2 * half, {"BulkWriter.upsert": 0.85}
    )


def updating(bench: Bench) -> bool:
    number = bench.number // 2
    rows = [(row[0], f"{row[1]}!", row[3] + 1) for row in made(bench.number)[::2]]
    dicts = [{"b_id": row[0], "name": row[1], "amount": row[2]} for row in rows]
    prepare = _filled(bench, made(bench.number))
    _source(bench, [(*row[:1], f"{row[1]}!", row[2], row[3] + 1, *row[4:]) for row in made(bench.number)[::2]])
    inside = "UPDATE bt SET name = s.name, amount = s.amount FROM source s WHERE bt.id = s.id"
    bulk: BulkWriter[Any] = BulkWriter(_Database(bench.engine), Item)

    def core() -> None:
        from sqlalchemy import bindparam

        with bench.engine.begin() as connection:
            connection.execute(update(Item.__table__).where(Item.__table__.c.id == bindparam("b_id")), dicts)  # type: ignore[arg-type]

    works: dict[str, tuple[Callable[[], Any], int]] = {
        "inside the server": (lambda: bench.run(inside), 1),
        "BulkWriter.update": (lambda: bulk.update(rows, columns=[Item.id, Item.name, Item.amount]), 1),
        "SQLAlchemy update(), list": (core, 1),
    }
    taken = bench.paired(works, prepare, lambda part: bench.number)
    return told(f"update: {number:,} rows, 2 columns", taken, "inside the server", number, {"BulkWriter.update": 0.80})


def deleting(bench: Bench) -> bool:
    number = bench.number // 2
    rows = made(bench.number)
    keys = [row[0] for row in rows[::2]]
    prepare = _filled(bench, rows)
    _source(bench, rows[::2])
    bulk: BulkWriter[Any] = BulkWriter(_Database(bench.engine), Item)

    def core() -> None:
        from sqlalchemy import delete

        with bench.engine.begin() as connection:
            for start in range(0, number, 10_000):
                connection.execute(delete(Item).where(Item.id.in_(keys[start : start + 10_000])))

    works: dict[str, tuple[Callable[[], Any], int]] = {
        "inside the server": (lambda: bench.run("DELETE FROM bt USING source s WHERE bt.id = s.id"), 1),
        "BulkWriter.delete": (lambda: bulk.delete(keys), 1),
        "SQLAlchemy delete(), in_()": (core, 1),
    }
    taken = bench.paired(works, prepare, lambda part: bench.number - number)
    return told(f"delete: {number:,} rows", taken, "inside the server", number, {"BulkWriter.delete": 0.64})


def rejecting(bench: Bench) -> bool:
    number = bench.number // 2
    clean = made(number)
    bulk: BulkWriter[Any] = BulkWriter(_Database(bench.engine), Item)

    def spoilt(bad: int) -> list[tuple[Any, ...]]:
        rows = list(clean)
        for each in range(bad):
            place = each * (number // bad) + 7
            row = list(rows[place])
            row[each % 2 + 1 if each % 4 else 3] = (None, rows[place - 1][2], Decimal(10) ** 15)[each % 2 if each % 4 else 2]
            rows[place] = tuple(row)
        return rows

    ten, many = spoilt(10), spoilt(number // 10)

    def load(rows: list[tuple[Any, ...]], on_error: Any) -> None:
        bulk.insert(rows, columns=COLUMNS, on_error=on_error)

    works: dict[str, tuple[Callable[[], Any], int]] = {
        "clean": (lambda: load(clean, "raise"), 1),
        "10 bad rows": (lambda: load(ten, "reject"), 1),
        f"{number // 10:,} bad rows": (lambda: load(many, "reject"), 1),
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(bench.rounds):
        for name, (work, _) in works.items():
            bench.run("TRUNCATE bt")
            bench.run("CHECKPOINT")
            started = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - started)
    return told(f'on_error="reject": {number:,} rows', taken, "clean", number, {"10 bad rows": 0.70})


def switching(bench: Bench) -> bool:
    """Print what both routes cost for few rows: where those of upserts cross, `dal.bulk.few` has its limit."""
    bulk: BulkWriter[Any] = BulkWriter(_Database(bench.engine), Item)
    numbers = [1, 10, 100, 500, 1_000, 1_900, 5_000, 10_000]
    base = 100_000
    bench.run("TRUNCATE bt")
    psycopg_copy(bench, made(base))
    bench.run("VACUUM ANALYZE bt")
    kept = few.BELOW, few.DELETES_BELOW
    types = ["int8", "text", "text", "numeric", "timestamptz", "text", "bool"]
    arrays = ", ".join(f"%b::{each}[]" for each in types)
    picked = ", ".join(f"{name}::jsonb" if name == "doc" else name for name in NAMES)
    by_hand = f"INSERT INTO bt ({', '.join(NAMES)}) SELECT {picked} FROM unnest({arrays}) AS a({', '.join(NAMES)})"

    def one_statement(rows: list[tuple[Any, ...]]) -> None:
        with bench.engine.begin() as connection:
            columns = [list(column) for column in zip(*rows, strict=True)]
            columns[5] = [orjson.dumps(each).decode() for each in columns[5]]
            driver: Any = connection.connection.driver_connection
            driver.execute("SAVEPOINT one")
            driver.execute(by_hand, columns)
            driver.execute("RELEASE one")

    def once(kind: str, number: int, start: int) -> Callable[[], Any]:
        if kind == "insert":
            rows = made(number, start)
            return (lambda: bulk.insert(rows, columns=COLUMNS)) if not few.BELOW else lambda: one_statement(rows)
        if kind == "update":
            changes = [(each + 1, f"name {start}", Decimal(start % 100_000)) for each in range(number)]
            return lambda: bulk.update(changes, columns=[Item.id, Item.name, Item.amount])
        if kind == "delete":
            psycopg_copy(bench, made(number, start))
            return lambda: bulk.delete(list(range(start + 1, start + number + 1)))
        # Half of them are there.
        rows = [(*row[:1], f"{row[1]} {start}", *row[2:]) for row in (*made(number // 2), *made(number - number // 2, start))]
        return lambda: bulk.upsert(rows, key=[Item.email], columns=COLUMNS)

    print(f"\nswitch: ms for a call by one statement (inserts: psycopg by hand) and by COPY, in a table of {base:,} rows")
    print(f"  {'rows':>7}", end="")
    print("".join(f"{f'{kind}, {route}':>16}" for kind in KINDS for route in ("one", "COPY")))
    start = base
    for number in numbers:
        taken: dict[tuple[str, int], list[float]] = {}
        for _ in range(max(bench.rounds, min(40, 2_000 // number))):
            for kind in KINDS:
                for below in (1_000_000, 0):
                    few.BELOW = few.DELETES_BELOW = below
                    work = once(kind, number, start)
                    start += number
                    started = time.perf_counter()
                    work()
                    taken.setdefault((kind, below), []).append(time.perf_counter() - started)
        print(f"  {number:7,}" + "".join(f"{statistics.median(times) * 1000:16.2f}" for times in taken.values()))
    few.BELOW, few.DELETES_BELOW = kept
    return True


class _Database:
    """An engine with the two methods that a writer needs, and orjson for JSON, which its peers have too."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def transaction(self) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def begun() -> Any:
            with Session(self._engine) as session, session.begin():
                yield session

        return begun()

    def run(self, work: Callable[[Session], Any], /) -> Any:
        with self.transaction() as session:
            return work(session)


SECTIONS: dict[str, Callable[[Bench], bool]] = {
    "insert": inserting,
    "ids": with_ids,
    "flush": flushing,
    "upsert": upserting,
    "update": updating,
    "delete": deleting,
    "rejects": rejecting,
    "switch": switching,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="BulkWriter beside its peers")
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=[])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with EmbeddedServer(settings=SETTINGS, temporary=True) as server, tempfile.TemporaryDirectory() as folder:
        url = server.url()
        engine = create_engine(url, json_serializer=lambda value: orjson.dumps(value).decode(), json_deserializer=orjson.loads)
        Base.metadata.create_all(engine)
        conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
        # The server, another user here and there, writes a file to it, and reads it.
        Path(folder).chmod(0o777)
        bench = Bench(engine, conninfo, asked.rows, asked.rounds, Path(folder))
        kept = [SECTIONS[name](bench) for name in asked.sections or SECTIONS]
        engine.dispose()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main())
