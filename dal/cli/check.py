"""`dal check`: what is wrong with a database, its pool settings and a mapping, each with its fix.

It reads only, and exits with 1 when it found something: fit for a deployment's first step. The database and its pool are
always looked at, a mapping where `--models` names one, migrations where their folder is there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dal.cli.target import ConfigOption, UrlOption, database_config, see_the_application

if TYPE_CHECKING:
    from dal.database import Database
    from dal.database.health import Problem

__all__ = ["check"]

_FOLDER = Path("migrations")
_KEEPALIVE = 30.0
_LIMITS = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
       (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'idle_session_timeout')"""


def check(
    url: UrlOption = None,
    config: ConfigOption = None,
    models: Annotated[str | None, typer.Option("--models", help="Where the models are, such as app.models:Base.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="The folder of the migrations; ./migrations if it is there.")
    ] = None,
    instances: Annotated[
        int, typer.Option("--instances", min=1, help="How many processes of the application open a pool with these settings.")
    ] = 1,
) -> None:
    """Say what is wrong with a database, its pool settings and a mapping; exit with 1 if something is."""
    from dal.database import Database

    see_the_application()
    # What Alembic says while it compares is no finding.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with Database(database_config(url, config)) as db:
        health = db.health()
        problems = list(health.problems)
        if health.ok:
            problems += _pools(db, instances)
            problems += _mapping(db, models)
            problems += _schema(db, folder)
        typer.echo(f"database  {db.url.render_as_string(hide_password=True)}")
        if health.latency is not None:
            typer.echo(f"answered  in {health.latency * 1000:.1f} ms, version {health.server_version or 'unknown'}")
    for problem in problems:
        typer.echo(f"problem   {problem.what}\n    fix:  {problem.fix}")
    if problems:
        raise typer.Exit(1)
    typer.echo("nothing is wrong")


def _pools(db: Database, instances: int) -> Iterator[Problem]:
    from dal.database.health import Problem

    if db.url.get_backend_name() != "postgresql":
        return
    pool = db.config.pool
    with db.engine.connect() as connection:
        usable, idle_session = connection.exec_driver_sql(_LIMITS).one()
    total = instances * pool.max_pool_size
    if instances > 1 and total > usable:
        yield Problem(
            f"{instances} instances of at most {pool.max_pool_size} connections are {total}, but the server takes {usable}",
            f"max_pool_size: {max(1, usable // instances)}, or raise the server's max_connections, or put PgBouncer in between",
        )
    # The pool's background check, every 30 s, is what keeps a session from being idle for long.
    if idle_session and idle_session <= _KEEPALIVE:
        fix = "ALTER ROLE ... SET idle_session_timeout = 0 for the role of the application"
        yield Problem(f"the server ends sessions that are idle for {idle_session:g} s: it cuts the pool's connections", fix)
    elif idle_session and not pool.test_while_idle:
        yield Problem(
            f"the server ends sessions that are idle for {idle_session:g} s, and the pool does not keep its idle ones alive",
            "test_while_idle: true",
        )


def _mapping(db: Database, models: str | None) -> Iterator[Problem]:
    if models is None:
        return
    from dal.cli.mapping import problems, read_models

    with db.engine.connect() as connection:
        yield from problems(read_models(models), connection)


def _schema(db: Database, folder: Path | None) -> Iterator[Problem]:
    from dal.database.health import Problem

    if folder is None and not (_FOLDER / "env.py").is_file():
        return
    from dal.migrations import Migrations

    migrations = Migrations(db.url, folder=folder or _FOLDER)
    status = migrations.status()
    for identifier in status.unknown:
        yield Problem(
            f"the database is at revision {identifier}, for which {migrations.folder} has no file",
            "run the newer code that migrated it, or bring the file back into versions/",
        )
    if not status.unknown:
        for difference in migrations.check():
            pending = difference.kind == "pending"
            yield Problem(
                difference.text, "dal migrate up" if pending else "dal migrate new 'what changed', then dal migrate up"
            )
