"""The rows, by BulkWriter, and what add_all would have made of it."""

from __future__ import annotations

import time
from functools import partial

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from dal.bulk import BulkWriter
from dal.demo.data import ROWS, DataFile, data_files, load
from dal.demo.models import Flight
from dal.demo.stage import Chapter, Stage

__all__ = ["CHAPTER"]

_SAMPLE, _BEYOND = 5_000, 1_000_000


def _tell(stage: Stage) -> None:
    engine = stage.db.engine
    missing = [file for file in data_files() if _count(engine, file.table) != ROWS[file.table]]
    if not missing:
        stage.console.print(f"{sum(ROWS.values()):,} rows are there from last time")
        return
    started = time.perf_counter()
    rows = _load(stage, missing)
    took = time.perf_counter() - started
    stage.console.print(f"{rows:,} rows in {took:.1f} s: {rows / took:,.0f} rows a second, every table counted afterwards")
    _compare(stage)


def _compare(stage: Stage) -> None:
    """Write the same flights by `add_all`, by a flush in bulk and by BulkWriter, and take all of them back."""
    with stage.db.session() as session:
        names = [column.key for column in Flight.__table__.columns]
        flights = session.execute(select(*(getattr(Flight, name) for name in names)).order_by(Flight.id).limit(_SAMPLE)).all()
    # Keys far from those that are there, so that the table's sequence is left alone.
    rows = [{**row._mapping, "id": _BEYOND + number} for number, row in enumerate(flights)]

    def add_all(session: Session) -> None:
        session.add_all([Flight(**row) for row in rows])
        session.flush()

    def insert(session: Session) -> None:
        BulkWriter(session, Flight).insert(rows)

    ways = {"session.add_all(...)": (add_all, False), "   with bulk_flush=True": (add_all, True)}
    for name, (work, in_bulk) in {**ways, "BulkWriter(...).insert(...)": (insert, False)}.items():
        with stage.db.session(bulk_flush=in_bulk) as session:
            started = time.perf_counter()
            work(session)
            took = time.perf_counter() - started
            session.rollback()
        stage.console.print(f"{name:<28} {len(rows) / took:>9,.0f} rows a second  [dim]{len(rows):,} flights, taken back[/]")


def _load(stage: Stage, files: list[DataFile]) -> int:
    engine = stage.db.engine
    columns = TextColumn("{task.description:<9}"), BarColumn(bar_width=32), DownloadColumn(), TimeElapsedColumn()
    rows = 0
    with Progress(*columns, console=stage.console) as progress:
        for file in files:
            task = progress.add_task(file.table, total=file.size)
            _empty(engine, file.table)
            rows += load(engine, file, advance=partial(progress.advance, task))
            if (found := _count(engine, file.table)) != ROWS[file.table]:
                raise RuntimeError(f"{file.table} has {found} rows, not {ROWS[file.table]}: the data set is another version")
    # Fresh tables have no statistics until autovacuum comes by; plans made before would be for empty tables.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    return rows


def _count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def _empty(engine: Engine, table: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {table} RESTART IDENTITY"))


CHAPTER = Chapter("Five tables in bulk", _tell)
