"""Run the chapters, one after another, on an embedded PostgreSQL of their own."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.markup import escape
from sqlalchemy import text

from dal.database import Database
from dal.demo.chapters import CHAPTERS
from dal.demo.data import data_files
from dal.demo.stage import Stage
from dal.embedded import EmbeddedServer

__all__ = ["tell"]

KEPT = Path(".dal/demo")


def tell(console: Console, *, keep: bool) -> None:
    """Start a server, tell every chapter, stop the server.

    Args:
        console: Where to print.
        keep: Keep the data in `.dal/demo`, and use what is there from last time.

    Raises:
        MissingExtra: The server or the data set is not installed; told before anything is started.
        ServerError: The server cannot be started here.
    """
    data_files()
    if keep:
        _tell(console, KEPT)
        console.print(f"[dim]the data stays in {escape(str(KEPT))}[/]")
        return
    with TemporaryDirectory(prefix="dal-demo-", ignore_cleanup_errors=True) as folder:
        _tell(console, Path(folder) / "postgres")


def _tell(console: Console, folder: Path) -> None:
    started = time.perf_counter()
    console.print("[bold]dal demo[/]: every flight that left New York in 2013")
    with EmbeddedServer(folder, settings={"wal_level": "logical"}) as server, Database(server.url()) as db:
        with db.session() as session:
            version = session.scalar(text("SHOW server_version"))
        console.print(f"an embedded PostgreSQL {version} is up after {time.perf_counter() - started:.1f} s")
        for number, chapter in enumerate(CHAPTERS, start=1):
            console.print()
            console.rule(f"[bold]{number}  {escape(chapter.title)}[/]", align="left")
            chapter.tell(Stage(db=db, server=server, console=console))
    console.print()
    console.print(f"done in {time.perf_counter() - started:.1f} s")
