"""Procrastinate's job manager, fenced: a worker ends only jobs that are still its own, and a dead worker's jobs go on at once.

A worker holds an advisory lock, with its id, on a connection of its own, from before its first job until it ends or dies: the
server lets go of the lock when the process is gone, so nobody has to wait for heartbeats to be missing. Whoever finds a running
job whose worker holds no lock puts it back into the queue. If that worker is alive after all, because only this one connection
was lost, its runs end in vain: ending a job asks whether it still belongs to the worker.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import psycopg
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager

from dal.jobs.schema import ROOM
from dal.jobs.store import TASK

__all__ = ["FencedManager"]

_log = logging.getLogger("dal.jobs")

# The row is locked before the function sees it: a FOR UPDATE beside the function would lock it afterwards.
_OURS = """
    WITH q AS MATERIALIZED (
        SELECT id FROM procrastinate_jobs
        WHERE id = %(id)s AND worker_id = %(worker)s AND status = 'doing' FOR UPDATE
    )
"""
_FINISH = f"{_OURS} SELECT q.id, procrastinate_finish_job_v1(q.id, %(status)s::procrastinate_job_status, false) FROM q"
_RETRY = f"{_OURS} SELECT q.id, procrastinate_retry_job_v2(q.id, %(at)s, NULL, NULL, NULL) FROM q"
_ORPHANS = """
    WITH q AS MATERIALIZED (
        SELECT id FROM procrastinate_jobs AS j
        WHERE task_name = %(task)s AND status = 'doing' AND abort_requested = %(aborted)s
          AND (worker_id IS NULL OR NOT EXISTS (
              SELECT FROM pg_locks AS l
              WHERE l.locktype = 'advisory' AND l.objsubid = 2
                AND l.classid::bigint = %(room)s AND l.objid::bigint = j.worker_id
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())))
        FOR UPDATE SKIP LOCKED
    )
"""
_RESCUE = f"{_ORPHANS} SELECT q.id, procrastinate_retry_job_v2(q.id, now(), NULL, NULL, NULL) FROM q"
_BURY = f"{_ORPHANS} SELECT q.id, procrastinate_finish_job_v1(q.id, 'aborted', false) FROM q"


class FencedManager(JobManager):
    """Procrastinate's, for one worker.

    Args:
        connector: Procrastinate's.
        conninfo: How to connect, for the connection that holds the lock.
    """

    def __init__(self, connector: Any, conninfo: str) -> None:
        super().__init__(connector)
        self._conninfo = conninfo
        self._worker: int | None = None
        self._registered = False
        self._held: psycopg.AsyncConnection[Any] | None = None

    @property
    def registered(self) -> bool:
        """Whether the worker is registered and has taken its lock."""
        return self._registered

    async def register_worker(self) -> int:
        """Register the worker, and take its lock before its first job."""
        self._worker = await super().register_worker()
        await self.hold()
        self._registered = True
        return self._worker

    async def unregister_worker(self, worker_id: int) -> None:
        """Strike the worker off, and let go of its lock."""
        try:
            await super().unregister_worker(worker_id)
        finally:
            await self.close()

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """End a job, unless it was taken away meanwhile."""
        await self._end(_FINISH, job, status=status.value)

    async def retry_job(
        self, job: Job, retry_at: Any = None, priority: Any = None, queue: Any = None, lock: Any = None
    ) -> None:
        """Put a job back into the queue, unless it was taken away meanwhile."""
        await self._end(_RETRY, job, at=retry_at)

    async def rescue(self) -> int:
        """Put the running jobs of dead workers back into the queue, and end those that were called off.

        Returns:
            How many there were.
        """
        await self.hold()
        given = {"task": TASK, "room": ROOM}
        found = await self.connector.execute_query_all_async(query=_RESCUE, aborted=False, **given)
        ended = await self.connector.execute_query_all_async(query=_BURY, aborted=True, **given)
        for row in found:
            _log.warning("job %s goes on: its worker is gone", row["id"])
        return len(found) + len(ended)

    async def hold(self) -> None:
        """Take the worker's lock, again where its connection was lost."""
        if self._held is not None:
            try:
                await self._held.execute("SELECT")
                return
            except psycopg.Error:
                await self.close()
        held = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, application_name="dal worker")
        await held.execute("SELECT pg_advisory_lock(%s::int, %s::int)", (ROOM, self._worker))
        self._held = held

    async def close(self) -> None:
        """Let go of the lock."""
        held, self._held = self._held, None
        if held is not None:
            with suppress(psycopg.Error):
                await held.close()

    async def _end(self, statement: Any, job: Job, **values: Any) -> None:
        rows = await self.connector.execute_query_all_async(query=statement, id=job.id, worker=self._worker, **values)
        if not rows:
            _log.warning("job %s had been taken from this worker; what it did since does not count", job.id)
