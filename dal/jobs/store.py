"""The queue's rows: putting a job there, reading how it is, calling it off.

Procrastinate's own SQL functions do what changes one. Everything runs on a connection that is given, in the caller's
transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import BigInteger

from dal.jobs.progress import STATES, Progress

__all__ = [
    "TASK",
    "Outcome",
    "begin",
    "cancel",
    "defer",
    "keep_error",
    "keep_result",
    "look",
    "note",
    "over",
    "retry",
    "select",
]

TASK = "dal.run"
"""The one task of procrastinate's that all jobs of dal are."""

_DEFER = text("""
    SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[
        ROW(:queue, :task, :priority, :lock, NULL, :args, :at)::procrastinate_job_to_defer_v1
    ]))
""").bindparams(bindparam("args", type_=JSONB))
_LOOK = text("""
    SELECT q.id, q.status::text AS status, q.attempts, q.args, j.done, j.total, j.rejected, j.result, j.error,
           coalesce((j.done - j.done_before) / nullif(extract(epoch FROM j.updated_at - j.began_at), 0), 0)::float8 AS rate
    FROM procrastinate_jobs AS q LEFT JOIN dal_jobs AS j USING (id)
    WHERE q.id = :id AND q.task_name = :task
""")
_OVER = text("""
    SELECT given.id FROM unnest(:ids) AS given (id) LEFT JOIN procrastinate_jobs AS q USING (id)
    WHERE q.id IS NULL OR q.status NOT IN ('todo', 'doing')
""").bindparams(bindparam("ids", type_=ARRAY(BigInteger)))
_SELECT = text("""
    SELECT id FROM procrastinate_jobs
    WHERE task_name = :task AND status::text = ANY(:statuses) ORDER BY id DESC LIMIT :limit
""")
_BEGIN = text("""
    INSERT INTO dal_jobs (id, began_at, updated_at) VALUES (:id, clock_timestamp(), clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET began_at = excluded.began_at, updated_at = excluded.updated_at, done_before = dal_jobs.done
    RETURNING done, total, rejected
""")
_NOTE = text("""
    UPDATE dal_jobs SET done = :done, total = :total, rejected = :rejected, updated_at = clock_timestamp() WHERE id = :id
""")
_RESULT = text("UPDATE dal_jobs SET result = :result, error = NULL WHERE id = :id").bindparams(
    bindparam("result", type_=JSONB(none_as_null=True))
)
_ERROR = text("UPDATE dal_jobs SET error = :error, failures = failures + :counts WHERE id = :id RETURNING failures").bindparams(
    bindparam("error", type_=JSONB)
)
_CANCEL = text("SELECT procrastinate_cancel_job_v1(:id, true, false)")
_RETRY = text("""
    WITH q AS MATERIALIZED (SELECT id FROM procrastinate_jobs WHERE id = :id AND status = 'failed' FOR UPDATE)
    SELECT q.id, procrastinate_retry_job_v2(q.id, now(), NULL, NULL, NULL) FROM q
""")
_FORGIVE = text("UPDATE dal_jobs SET failures = 0 WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A job as it stands.

    Args:
        progress: How far it is.
        call: What it calls, as it was put into the queue.
        result: What it returned, as JSON.
        error: What failed: type, message, hint and traceback.
    """

    progress: Progress
    call: Mapping[str, Any]
    result: Any
    error: Mapping[str, str] | None


def defer(
    connection: Connection,
    call: Mapping[str, Any],
    *,
    queue: str,
    priority: int,
    at: datetime | None,
    lock: str | None,
) -> int:
    """Put a job into the queue; it is there when the transaction commits.

    Returns:
        Its id.
    """
    values = {"queue": queue, "task": TASK, "priority": priority, "lock": lock, "args": {"call": call}, "at": at}
    return int(connection.execute(_DEFER, values).scalar_one())


def look(connection: Connection, job: int) -> Outcome | None:
    """Read a job; None where there is none."""
    row = connection.execute(_LOOK, {"id": job, "task": TASK}).one_or_none()
    if row is None:
        return None
    state = STATES[row.status]
    error = row.error if state != "done" else None
    progress = Progress(
        state,
        done=row.done or 0,
        total=row.total,
        rejected=row.rejected or 0,
        rate=row.rate,
        attempts=row.attempts,
        error=f"{error['type']}: {error['message']}" if error else "",
    )
    return Outcome(progress, row.args["call"], row.result, error)


def over(connection: Connection, jobs: Sequence[int]) -> list[int]:
    """Return which of some jobs are over, or were never there."""
    return list(connection.execute(_OVER, {"ids": list(jobs)}).scalars())


def select(connection: Connection, states: Sequence[str], limit: int) -> list[int]:
    """List jobs that are in one of some states, the newest first."""
    statuses = [theirs for theirs, ours in STATES.items() if ours in states]
    return list(connection.execute(_SELECT, {"task": TASK, "statuses": statuses, "limit": limit}).scalars())


def begin(connection: Connection, job: int) -> tuple[int, int | None, int]:
    """Note that a run of a job begins.

    Returns:
        What earlier runs have done, the total and the rejected.
    """
    done, total, rejected = connection.execute(_BEGIN, {"id": job}).one()
    return done, total, rejected


def note(connection: Connection, job: int, *, done: int, total: int | None, rejected: int) -> None:
    """Write how far a job is."""
    connection.execute(_NOTE, {"id": job, "done": done, "total": total, "rejected": rejected})


def keep_result(connection: Connection, job: int, result: Any) -> None:
    """Keep what a job returned."""
    connection.execute(_RESULT, {"id": job, "result": result})


def keep_error(connection: Connection, job: int, error: Mapping[str, str], *, counts: bool) -> int:
    """Keep why a run failed.

    Args:
        connection: Where.
        job: Its id.
        error: Type, message, hint and traceback.
        counts: Whether it counts as one of the failures after which a job is given up.

    Returns:
        How many runs have failed.
    """
    found = connection.execute(_ERROR, {"id": job, "error": json.loads(json.dumps(error)), "counts": int(counts)})
    return int(found.scalar_one())


def cancel(connection: Connection, job: int) -> bool:
    """Call a job off: one that waits is never run, one that runs is asked to end.

    Returns:
        False where it was over already.
    """
    return connection.execute(_CANCEL, {"id": job}).scalar_one() is not None


def retry(connection: Connection, job: int) -> bool:
    """Put a failed job back into the queue.

    Returns:
        False where it has not failed.
    """
    connection.execute(_FORGIVE, {"id": job})
    return connection.execute(_RETRY, {"id": job}).one_or_none() is not None
