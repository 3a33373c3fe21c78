"""`dal migrate init|new|up|down|status|check`: Alembic underneath, safe for many instances at once."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dal.cli.target import ConfigOption, UrlOption, database_config, see_the_application

if TYPE_CHECKING:
    from dal.migrations import Migrations, Revision

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Change the schema: Alembic underneath, safe for many instances at once.")


def _no_option(target: str) -> str:
    if target.startswith("--"):
        raise typer.BadParameter(f"no such option: {target}")
    return target


TargetArgument = Annotated[
    str, typer.Argument(callback=_no_option, help="A revision, +1, -1, heads (everything) or base (nothing).")
]
FolderOption = Annotated[Path, typer.Option("--folder", help="The folder of the migrations.")]
TimeoutOption = Annotated[str, typer.Option("--lock-timeout", help="How long to wait for another instance that migrates.")]

# `-1` and `-2` are revisions here, not options.
_MINUS_ONE = {"ignore_unknown_options": True}


@app.command()
def init(
    metadata: Annotated[str, typer.Option("--metadata", help="Where the models are, such as app.models:Base.")],
    folder: FolderOption = Path("migrations"),
) -> None:
    """Give an application its own migration environment."""
    from dal.migrations import init as write_environment

    see_the_application()
    for path in write_environment(folder, metadata=metadata):
        typer.echo(f"wrote {path}")
    typer.echo("next: dal migrate new 'create tables', then dal migrate up")


@app.command()
def new(
    message: Annotated[str, typer.Argument(help="What the migration does; becomes its name.")],
    url: UrlOption = None,
    config: ConfigOption = None,
    folder: FolderOption = Path("migrations"),
    empty: Annotated[bool, typer.Option("--empty", help="Do not compare; write a file without operations.")] = False,
) -> None:
    """Write the next migration from what models and database differ in."""
    revision = _migrations(url, config, folder).new(message, empty=empty)
    if revision is None:
        typer.echo("models and database do not differ: nothing written")
    else:
        typer.echo(f"wrote {_relative(revision.path)}\nread it before you run: dal migrate up")


@app.command(context_settings=_MINUS_ONE)
def up(
    target: TargetArgument = "heads",
    url: UrlOption = None,
    config: ConfigOption = None,
    folder: FolderOption = Path("migrations"),
    lock_timeout: TimeoutOption = "60s",
    create: Annotated[bool, typer.Option("--create", help="Create the database first where it is missing.")] = False,
) -> None:
    """Apply what is pending; of many instances that do this at once, one does it and the others wait."""
    if create:
        from dal.migrations import create_database

        where = database_config(url, config).url
        if create_database(where):
            typer.echo(f"created the database {where.database}")
    if not _migrations(url, config, folder, lock_timeout).up(target, on_step=_tell("applied")):
        typer.echo("nothing to apply")


@app.command(context_settings=_MINUS_ONE)
def down(
    target: TargetArgument = "-1",
    url: UrlOption = None,
    config: ConfigOption = None,
    folder: FolderOption = Path("migrations"),
    lock_timeout: TimeoutOption = "60s",
) -> None:
    """Take migrations back: the last one, or down to a revision."""
    if not _migrations(url, config, folder, lock_timeout).down(target, on_step=_tell("took back")):
        typer.echo("nothing to take back")


@app.command()
def status(url: UrlOption = None, config: ConfigOption = None, folder: FolderOption = Path("migrations")) -> None:
    """Say which revision the database is at, and what is pending."""
    migrations = _migrations(url, config, folder)
    found = migrations.status()
    typer.echo(f"database  {migrations.url}")
    typer.echo(f"current   {', '.join(found.current) or 'none'}")
    for identifier in found.unknown:
        typer.echo(f"unknown   {identifier}: no file in {folder}; newer code migrated this database")
    for revision in found.pending:
        typer.echo(f"pending   {revision}")
    if found.up_to_date:
        typer.echo("up to date")


@app.command()
def check(url: UrlOption = None, config: ConfigOption = None, folder: FolderOption = Path("migrations")) -> None:
    """Exit with 1 and say what differs when models, migrations and database are not the same."""
    differences = _migrations(url, config, folder).check()
    for difference in differences:
        typer.echo(str(difference))
    if differences:
        raise typer.Exit(1)
    typer.echo("models and database do not differ")


def _migrations(url: str | None, config: Path | None, folder: Path, lock_timeout: str = "60s") -> Migrations:
    from dal.migrations import Migrations

    see_the_application()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dal").setLevel(logging.INFO)
    return Migrations(database_config(url, config).url, folder=folder, lock_timeout=lock_timeout)


def _tell(verb: str) -> Callable[[Revision], None]:
    return lambda revision: typer.echo(f"{verb} {revision}")


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
