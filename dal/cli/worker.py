"""`dal worker`: run background jobs until Ctrl-C or SIGTERM; start as many, on as many machines, as the work needs."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dal.cli.target import ConfigOption, UrlOption, database_config, see_the_application

if TYPE_CHECKING:
    from dal.jobs import Worker

__all__ = ["worker"]

_LEFT_UNDONE = 75


def worker(
    url: UrlOption = None,
    config: ConfigOption = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Jobs at the same time.")] = 1,
    queue: Annotated[list[str] | None, typer.Option("--queue", help="Only jobs of this queue; may be repeated.")] = None,
    grace: Annotated[str, typer.Option("--grace", help="How long running jobs have to end after Ctrl-C or SIGTERM.")] = "30s",
) -> None:
    """Run background jobs; a second Ctrl-C ends at once, and other workers go on with what was running."""
    from dal.database import Database
    from dal.durations import seconds

    see_the_application()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    with Database(database_config(url, config)) as db:
        running = db.worker(concurrency=concurrency, queues=queue, grace=grace)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop(running, seconds(grace, name="grace")))
        typer.echo(f"running jobs of {db.url}, {concurrency} at a time; Ctrl-C ends it")
        running.run()


def _stop(running: Worker, grace: float) -> Any:
    """Return a signal handler: the first signal stops, the second ends at once, and so does the end of the grace."""
    told = threading.Event()

    def stop(*_: Any) -> None:
        if told.is_set():
            os._exit(_LEFT_UNDONE)
        told.set()
        running.stop()
        # A thread cannot be ended from outside: what does not come to its end in time is left to another worker.
        late = threading.Timer(grace + 5.0, lambda: os._exit(_LEFT_UNDONE))
        late.daemon = True
        late.start()

    return stop
