"""One run of a job, in a thread of a worker: call what it calls, and keep what comes of it."""

from __future__ import annotations

import asyncio
import inspect
import random
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from procrastinate import BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.exceptions import JobAborted
from procrastinate.job_context import AbortReason
from procrastinate.jobs import Job
from sqlalchemy import Engine

from dal.errors import ConfigError, DalError, FileError, MissingExtra, RowError
from dal.jobs import store
from dal.jobs.calls import find
from dal.jobs.current import Cancelled, RunningJob, Stopped, running
from dal.jobs.imports import run_import
from dal.jobs.results import kept
from dal.pool.retry import rule_for

__all__ = ["Again", "RunAgain", "run"]

_LONGEST = 600.0
_HOPELESS = (ConfigError, FileError, MissingExtra, RowError)
"""What another run cannot mend."""


class RunAgain(Exception):
    """A run that failed, and whose job goes back into the queue.

    Args:
        pause: Seconds until it may be run again.
    """

    def __init__(self, pause: float) -> None:
        super().__init__(f"again in {pause:.1f} s")
        self.pause = pause


class Again(BaseRetryStrategy):
    """What procrastinate asks of a run that failed."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Decide when it is run again; None gives it up."""
        if isinstance(exception, RunAgain):
            return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=exception.pause))
        return None


def run(context: JobContext, call: Mapping[str, Any]) -> None:
    """Run a job once.

    Args:
        context: Procrastinate's, with the worker's database.
        call: What it calls.
    """
    db, engine = context.additional_context["db"], context.additional_context["engine"]
    assert context.job.id is not None
    job = RunningJob(
        context.job.id,
        db,
        engine,
        cancelled=lambda: context.abort_reason() is AbortReason.USER_REQUEST,
        stopping=lambda: context.additional_context["stopping"]() or context.should_abort(),
    )
    token = running.set(job)
    try:
        job.check()
        result = run_import(job, call) if call["kind"] == "import" else _call(call)
        job.note()
        with engine.begin() as connection:
            store.keep_result(connection, job.id, kept(result))
    except Cancelled:
        raise JobAborted from None
    except Stopped:
        raise RunAgain(0.0) from None
    except Exception as error:
        again = _again(engine, job.id, error, call)
        if again is None:
            raise
        raise RunAgain(again) from error
    finally:
        running.reset(token)


def _call(call: Mapping[str, Any]) -> Any:
    function = find(call["name"])
    found = function(*call["args"], **call["kwargs"])
    return asyncio.run(found) if inspect.iscoroutine(found) else found


def _again(engine: Engine, job: int, error: Exception, call: Mapping[str, Any]) -> float | None:
    """Keep the error of a run, and return the pause until the next one; None where there is none."""
    delay = float(call["retry_delay"])
    rule = rule_for(error, read_only=False)
    with engine.begin() as connection:
        failures = store.keep_error(connection, job, _told(error), counts=rule is None)
    if rule is not None:
        return rule.seconds(1, delay)
    if isinstance(error, _HOPELESS) or failures > call["retries"]:
        return None
    return min(delay * 2.0 ** (failures - 1), _LONGEST) * random.uniform(0.8, 1.2)


def _told(error: Exception) -> dict[str, str]:
    plain = {
        "type": type(error).__name__,
        "message": str(error.args[0]) if isinstance(error, DalError) and error.args else str(error),
        "hint": error.hint if isinstance(error, DalError) else "",
        "traceback": "".join(traceback.format_exception(error)),
    }
    return {name: text.replace("\0", "\\0").encode(errors="backslashreplace").decode() for name, text in plain.items()}
