"""Worker: runs the jobs of a queue, several at a time, until it is told to stop: `dal worker`, or `with db.worker():`.

A stopping worker takes no more jobs. An import ends after its part and goes on with another worker; a function that looks at
`current_job().check()` begins anew elsewhere; any other is given `grace` seconds to come to its end. A worker that is killed
leaves its jobs to the others at once, see `dal.jobs.manager`. When the server is gone it waits for it to come back.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from dal._extras import require
from dal.durations import Duration, seconds
from dal.errors import UsageError
from dal.jobs.schema import prepare
from dal.jobs.store import TASK

__all__ = ["Worker"]

_log = logging.getLogger("dal.jobs")

_LOOK = 1.0
_PAUSE, _LONGEST = 0.2, 5.0
_STARTED = 30.0


class Worker:
    """Run jobs.

    Args:
        db: The database that functions get as `current_job().db`.
        engine: Its engine.
        url: Its URL, for the worker's own connections.
        concurrency: How many jobs run at the same time, each in a thread.
        queues: The queues whose jobs it runs; all by default.
        grace: How long running jobs have to end when the worker stops.

    Raises:
        UsageError: `concurrency` is no whole number from 1, or `queues` no list of names.
        MissingExtra: `dal[jobs]` is not installed.
        UnsupportedError: It is no PostgreSQL.
    """

    def __init__(
        self,
        db: Any,
        engine: Engine,
        url: URL,
        *,
        concurrency: int = 1,
        queues: Sequence[str] | None = None,
        grace: Duration = 30.0,
    ) -> None:
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise UsageError(
                f"concurrency={concurrency!r} is less than 1, or no whole number", hint="concurrency=1 runs one job at a time"
            )
        if queues is not None and not _are_names(queues):
            raise UsageError(f"queues={queues!r} is no list of names", hint='write queues=["default"]; without it, all of them')
        require("procrastinate", extra="jobs", purpose="a worker")
        self._db, self._engine = db, engine
        self._conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._concurrency, self._queues, self._grace = concurrency, queues, seconds(grace, name="grace")
        self._stopping = threading.Event()
        self._up = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise UsageError("this worker was started already", hint="each `with` block has its own: with db.worker():")
        prepare(self._engine)
        self._thread = threading.Thread(target=self.run, name="dal-worker", daemon=True)
        self._thread.start()
        self._up.wait(_STARTED)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Take no more jobs, and wait for those that run for as long as the grace; again is nothing."""
        self.stop()
        if self._thread is not None:
            self._thread.join(self._grace + _LONGEST)
            if self._thread.is_alive():
                _log.warning("a worker still waits for jobs that do not end; let them look at current_job().check()")

    def run(self) -> None:
        """Run jobs until `stop()` is called, from a signal handler or another thread."""
        prepare(self._engine)
        with suppress(asyncio.CancelledError):
            asyncio.run(self._run())

    def stop(self) -> None:
        """Take no more jobs and let those that run come to an end; returns at once, from any thread."""
        self._stopping.set()
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        pause = _PAUSE
        while not self._stopping.is_set():
            began = self._loop.time()
            try:
                await self._serve()
            except asyncio.CancelledError:
                return
            except Exception as error:
                _log.warning("the worker lost its database: %s; trying again", error)
            pause = _PAUSE if self._loop.time() - began > _LONGEST else min(pause * 2, _LONGEST)
            if not self._stopping.is_set():
                await asyncio.sleep(pause)

    async def _serve(self) -> None:
        """Run jobs until the worker stops or its database is gone."""
        from procrastinate import App, PsycopgConnector

        from dal.jobs.manager import FencedManager
        from dal.jobs.run import Again, run

        app = App(connector=PsycopgConnector(conninfo=self._conninfo, min_size=1, max_size=4, timeout=_LONGEST))
        manager = app.job_manager = FencedManager(app.connector, self._conninfo)
        app.task(name=TASK, pass_context=True, retry=Again())(run)
        rescuer: asyncio.Task[None] | None = None
        queues: dict[str, Any] = {} if self._queues is None else {"queues": self._queues}
        try:
            async with app.open_async():
                rescuer = asyncio.create_task(self._rescue(manager))
                await app.run_worker_async(
                    **queues,
                    concurrency=self._concurrency,
                    shutdown_graceful_timeout=self._grace,
                    fetch_job_polling_interval=_LOOK,
                    abort_job_polling_interval=_LOOK,
                    install_signal_handlers=False,
                    additional_context={"db": self._db, "engine": self._engine, "stopping": self._stopping.is_set},
                )
        finally:
            if rescuer is not None:
                rescuer.cancel()
            await manager.close()

    async def _rescue(self, manager: Any) -> None:
        while True:
            if manager.registered:
                self._up.set()
                try:
                    await manager.rescue()
                except Exception as error:
                    _log.warning("looking for jobs of dead workers: %s", error)
            await asyncio.sleep(_LOOK if self._up.is_set() else 0.01)


def _are_names(queues: object) -> bool:
    return (
        isinstance(queues, Sequence)
        and bool(queues)
        and not isinstance(queues, str)
        and all(isinstance(name, str) for name in queues)
    )
