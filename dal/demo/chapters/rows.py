"""The rows, by COPY."""

from __future__ import annotations

import time
from functools import partial

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine, text

from dal.demo.data import ROWS, DataFile, data_files, load
from dal.demo.stage import Chapter, Stage

__all__ = ["CHAPTER"]


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


CHAPTER = Chapter("Five tables by COPY", _tell)
