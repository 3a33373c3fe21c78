"""`dal export SELECT FILE`: what a statement selects, or all of a mapped class, into a file.

SELECT is SQL (`"SELECT * FROM flights"`) or a mapped class (`app.models:Flight`). SQL is read only; Parquet and Arrow need a
class where the database is not PostgreSQL, which tells the types of SQL text.
"""

from __future__ import annotations

import re
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dal.cli.named import named
from dal.cli.target import ConfigOption, UrlOption, database_config, see_the_application

if TYPE_CHECKING:
    from sqlalchemy import Select, TextClause

    from dal.database import Database

__all__ = ["export"]

_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def export(
    select: Annotated[str, typer.Argument(help="A SELECT, or a mapped class such as app.models:Flight.")],
    file: Annotated[Path, typer.Argument(help="Where to: .csv, .jsonl, .parquet or .arrow, with .gz or .zst.")],
    url: UrlOption = None,
    config: ConfigOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")] = False,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Of a class: read parts of its table at the same time, in one snapshot.")
    ] = 1,
) -> None:
    """Write what a statement selects to a file."""
    from sqlalchemy import select as sql_select
    from sqlalchemy import text

    from dal.bulk.files.dump import dump
    from dal.database import Database

    see_the_application()
    statement: Select[*tuple[Any, ...]] | TextClause
    statement = sql_select(named(select, "SELECT")) if _CLASS.fullmatch(select) else text(select.replace(":", r"\:"))
    started = perf_counter()
    with Database(database_config(url, config)) as db:
        if workers > 1:
            rows = _in_parts(db, select, statement, file, workers)
        else:
            with db.engine.connect() as connection, connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                rows = dump(connection, statement, file, format=None, progress=not quiet)
    took = perf_counter() - started
    typer.echo(f"{rows:,} rows in {took:.1f} s: {rows / took:,.0f} rows a second")


def _in_parts(db: Database, written: str, statement: Select[*tuple[Any, ...]] | TextClause, file: Path, workers: int) -> int:
    """Write a class's rows, read by several workers; each passes through Python, which pays where reading is slow."""
    from sqlalchemy import Select, inspect
    from sqlalchemy import select as sql_select

    from dal.errors import UsageError

    if not isinstance(statement, Select):
        raise UsageError(
            f"--workers cuts a table in parts, and {written!r} is SQL text", hint="name a class: app.models:Flight"
        )
    columns = inspect(statement.column_descriptions[0]["entity"]).column_attrs
    return db.parallel(sql_select(*(each.class_attribute for each in columns)), workers=workers).write(file)
