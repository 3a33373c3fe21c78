"""`dal changes tail|list|drop|prune`: look at changes as they are committed, and at the slots of dal's streams."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from dal.cli.target import ConfigOption, UrlOption, database_config, see_the_application

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Look at changes as they are committed, and at the slots of change streams.")


@app.command()
def tail(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables, such as orders or shop.orders; by default all.")] = None,
    url: UrlOption = None,
    config: ConfigOption = None,
    models: Annotated[str | None, typer.Option("--models", help="Type values by a mapping, such as app.models:Base.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a change.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="End after so many changes.")] = None,
) -> None:
    """Print changes from now on, until Ctrl-C; what it needs on the server is gone when it ends."""
    from dal.database import Database
    from dal.streams.sinks.jsoned import json_text

    with Database(database_config(url, config)) as db:
        changes = db.changes(*_entities(db, tables or [], models))
        typer.echo("waiting for changes", err=True)
        try:
            for number, change in enumerate(changes, start=1):
                typer.echo(json_text(change) if as_json else _line(change))
                if number == limit:
                    break
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


@app.command("list")
def list_(url: UrlOption = None, config: ConfigOption = None) -> None:
    """List the slots of dal's streams in a database: who is read, and what the server keeps for them."""
    from rich.console import Console
    from rich.table import Table

    from dal.database import Database
    from dal.streams.watch import slots

    shown = Table(show_edge=False)
    for name in ("stream", "read now", "status", "log kept", "behind"):
        shown.add_column(name)
    with Database(database_config(url, config)) as db, db.engine.connect() as connection:
        for slot in slots(connection):
            shown.add_row(
                slot.stream, "yes" if slot.active else "no", slot.status or "?", _bytes(slot.held), _bytes(slot.behind)
            )
    Console().print(shown if shown.row_count else "no change stream has a slot in this database")


@app.command()
def drop(name: Annotated[str, typer.Argument(help="The stream.")], url: UrlOption = None, config: ConfigOption = None) -> None:
    """Drop a stream: its slot, its publication and its position. It cannot be resumed after that."""
    from dal.database import Database
    from dal.streams.marks import forget
    from dal.streams.slot import Slot, checked_name
    from dal.streams.waiting import ThreadWaiting

    with Database(database_config(url, config)) as db, _autocommit(db) as connection:
        Slot(checked_name(name), None).drop(connection, ThreadWaiting(), seconds=1.0)
        forget(connection, name)
    typer.echo(f"the stream {name} holds nothing any more")


@app.command()
def prune(
    max_lag: Annotated[str, typer.Option("--max-lag", help="How much log may be kept for a stream that nobody reads.")],
    url: UrlOption = None,
    config: ConfigOption = None,
) -> None:
    """Drop the streams that nobody reads and that hold more log than this; for a timer, to keep a disk from filling up."""
    from dal.database import Database
    from dal.streams.watch import byte_count
    from dal.streams.watch import prune as prune_slots

    most = byte_count(max_lag, name="--max-lag")
    with Database(database_config(url, config)) as db, _autocommit(db) as connection:
        gone = prune_slots(connection, max_lag=most)
    for name in gone:
        typer.echo(f"dropped the stream {name}")
    typer.echo(f"{len(gone)} dropped")


def _autocommit(db: Any) -> Any:
    return db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def _entities(db: Any, names: list[str], models: str | None) -> list[Any]:
    from sqlalchemy import MetaData

    from dal.cli.mapping import read_models
    from dal.errors import UsageError

    if models is not None:
        see_the_application()
        found = read_models(models)
        metadata = found if isinstance(found, MetaData) else found.metadata
    else:
        metadata = MetaData()
        schemas = {name.rpartition(".")[0] or None for name in names} or {None}
        for schema in schemas:
            metadata.reflect(db.engine, schema=schema)
    wanted = [metadata.tables[name] for name in names if name in metadata.tables]
    missing = [name for name in names if name not in metadata.tables]
    if missing:
        raise UsageError(f"there is no table {', '.join(missing)}", hint=f"there are: {', '.join(sorted(metadata.tables))}")
    if not names:
        keyless = [name for name, table in metadata.tables.items() if not table.primary_key.columns]
        if keyless:
            print(f"left out, for want of a primary key: {', '.join(keyless)}", file=sys.stderr)
        wanted = [table for name, table in metadata.tables.items() if name not in keyless and not table.name.startswith("dal_")]
    return wanted


def _line(change: Any) -> str:
    from dal.streams.change import UNCHANGED

    values = change.new if change.new is not None else change.old
    told = ", ".join(f"{name}={value!r}" for name, value in (values or {}).items() if value is not UNCHANGED)
    return f"{change.committed_at:%H:%M:%S.%f} {change.kind:8} {change.table} {told}".rstrip()


def _bytes(count: int | None) -> str:
    if count is None:
        return "-"
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1024 or unit == "TB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
