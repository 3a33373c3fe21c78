"""`dal import FILE --into app.models:Flight`: a file into a table, with a progress bar.

Exits with 1 when rows were rejected, so that a script notices; the good ones are in the table then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dal.cli.named import named
from dal.cli.target import ConfigOption, UrlOption, database_config, see_the_application

__all__ = ["import_"]

_SHOWN = 20


def import_(
    file: Annotated[Path, typer.Argument(help="CSV, JSON lines, Parquet or Arrow; .gz and .zst are unpacked.")],
    into: Annotated[str, typer.Option("--into", help="The mapped class, such as app.models:Flight.")],
    url: UrlOption = None,
    config: ConfigOption = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="An attribute of a unique key: write over rows that are there. Repeatable."),
    ] = None,
    reject: Annotated[bool, typer.Option("--reject", help="Load the good rows and tell the bad ones.")] = False,
    rejects: Annotated[Path | None, typer.Option("--rejects", help="Add the bad rows to this file, as JSON lines.")] = None,
    resume: Annotated[str | None, typer.Option("--resume", help="A checkpoint: go on where the last run ended.")] = None,
    delimiter: Annotated[str | None, typer.Option("--delimiter", help="Of a CSV file; found out by default.")] = None,
    null: Annotated[str | None, typer.Option("--null", help="What stands for NULL; found out by default.")] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Of the file; UTF-8 by default.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")] = False,
) -> None:
    """Load a file into the table of a mapped class."""
    from dal.bulk import BulkWriter, CsvDialect
    from dal.database import Database
    from dal.errors import RowError

    see_the_application()
    entity = named(into, "--into")
    with Database(database_config(url, config)) as db:
        try:
            result = BulkWriter(db, entity).load(
                file,
                key=key or None,
                dialect=CsvDialect(delimiter=delimiter, null=null, encoding=encoding),
                on_error="reject" if reject or rejects is not None else "raise",
                rejects=rejects,
                resume=resume,
                progress=not quiet,
            )
        except RowError as error:
            error.hint = "mend the row, or load the good ones and be told the bad ones: --reject"
            raise
    parts = [f"{result.inserted:,} rows inserted", f"{result.updated:,} updated" if key else ""]
    parts += [f"{result.unchanged:,} unchanged" if key else "", f"{len(result.rejected):,} rejected" if result.rejected else ""]
    typer.echo(f"{', '.join(filter(None, parts))} in {result.seconds:.1f} s: {result.rows_per_second:,.0f} rows a second")
    for each in result.rejected[:_SHOWN]:
        typer.echo(f"line {each.line}: {'' if each.column is None else f'{each.column} = {each.value!r}: '}{each.reason}")
    if len(result.rejected) > _SHOWN:
        typer.echo(f"and {len(result.rejected) - _SHOWN:,} more; --rejects FILE keeps all of them")
    if result.rejected:
        raise typer.Exit(1)
