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

__all__ = ["export"]

_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def export(
    select: Annotated[str, typer.Argument(help="A SELECT, or a mapped class such as app.models:Flight.")],
    file: Annotated[Path, typer.Argument(help="Where to: .csv, .jsonl, .parquet or .arrow, with .gz or .zst.")],
    url: UrlOption = None,
    config: ConfigOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")] = False,
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
    with Database(database_config(url, config)) as db, db.engine.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        rows = dump(connection, statement, file, format=None, progress=not quiet)
    took = perf_counter() - started
    typer.echo(f"{rows:,} rows in {took:.1f} s: {rows / took:,.0f} rows a second")
