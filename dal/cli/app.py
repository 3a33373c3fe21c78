"""The commands, put together. A command is a file of this folder; its heavy imports wait until it runs."""

from __future__ import annotations

import typer

from dal.cli import changes, check, demo, export, import_, migrate, pool, worker

__all__ = ["app"]

# Tracebacks of typer would print local variables, and so passwords.
app = typer.Typer(name="dal", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("demo")(demo.demo)
app.command("check")(check.check)
app.command("pool")(pool.pool)
app.command("import")(import_.import_)
app.command("export")(export.export)
app.command("worker")(worker.worker)
app.add_typer(changes.app, name="changes")
app.add_typer(migrate.app, name="migrate")


@app.callback()
def describe() -> None:
    """The data access layer for SQLAlchemy and PostgreSQL."""
