"""Every error dal raises: one tree, sorted by who can act on it.

Each error carries a `hint` (the line to write or the thing to check) and is also a subclass of the SQLAlchemy error
that a migrating application already catches, so `except NoResultFound` keeps working when `users.one()` replaces
`session.scalars(...).one()`.
"""

from __future__ import annotations

import queue
from typing import Any

from sqlalchemy import exc

__all__ = [
    "CommitUnknown",
    "ConfigError",
    "ConnectFailed",
    "CursorError",
    "DalError",
    "DeadlineExceeded",
    "FileError",
    "JobCancelled",
    "JobFailed",
    "MissingExtra",
    "MultipleFound",
    "NPlusOneFound",
    "NotAwaited",
    "NotFound",
    "NotLoaded",
    "PartFailed",
    "PoolTimeout",
    "QueueFull",
    "ReplicationError",
    "RowConflict",
    "RowError",
    "ServerError",
    "SlotLost",
    "StageFailed",
    "UnsupportedError",
    "UsageError",
    "WorkerLost",
]


class DalError(exc.SQLAlchemyError):
    """Base of all errors of dal.

    Args:
        message: What happened and the likely cause.
        hint: What to write or to check; also kept as the attribute `hint`.

    Example:
        >>> error = DalError("the pool is closed", hint="open a new Database")
        >>> error.hint
        'open a new Database'
        >>> print(error)
        the pool is closed
          hint: open a new Database
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = str(self.args[0]) if self.args else ""
        return f"{message}\n  hint: {self.hint}" if self.hint else message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[DalError], args: tuple[Any, ...], attributes: dict[str, Any]) -> DalError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


# The caller: the line of code or configuration has to change.


class UsageError(DalError, exc.InvalidRequestError):
    """The call cannot mean what was written; raised before any statement is sent."""


class ConfigError(DalError, exc.ArgumentError):
    """A setting is unknown, malformed or contradicts another one."""


class NotLoaded(UsageError):
    """A strict policy refused to load an attribute that the query did not load."""


class NotAwaited(NotLoaded, exc.MissingGreenlet):
    """An attribute that is not loaded was read in a coroutine without `await`."""


class UnsupportedError(UsageError, exc.CompileError):
    """The database at hand does not have what the call needs."""


class CursorError(UsageError):
    """A page's cursor is not one of ours for this query, was changed or has expired; raised before any statement is sent.

    Args:
        message: What is wrong with it.
        hint: What to answer.
    """

    http_status = 400
    """What a web application answers."""

    def __init__(self, message: str, *, hint: str = "answer 400; ask for the first page without a cursor") -> None:
        super().__init__(message, hint=hint)


class NPlusOneFound(DalError, AssertionError):
    """Detection found statements that one statement could have done; the message is the report."""


class MissingExtra(DalError, ImportError):
    """A feature needs an optional dependency that is not installed."""


# The operator: a server, an address or a platform has to change.


class ConnectFailed(DalError, exc.OperationalError):
    """No connection to the database could be made.

    Args:
        message: What happened, with host and port; never with a password.
        hint: What to check.
        orig: The driver's own error.
    """

    def __init__(self, message: str, *, hint: str = "", orig: BaseException | None = None) -> None:
        exc.OperationalError.__init__(self, None, None, orig or Exception(message))
        self.args = (message,)
        self.hint = hint


class ServerError(DalError):
    """The embedded server cannot be installed, started or stopped here."""


class ReplicationError(DalError):
    """The server cannot give a change stream: a setting, a right, a slot or a table's identity is missing."""


class SlotLost(ReplicationError):
    """Changes are gone: the stream's slot was dropped, or the server removed the log that it needs."""


class WorkerLost(DalError):
    """A worker process ended in the middle of its work, or could not be started."""


# The work: a function that was handed in raised; its own error is the `__cause__`.


class PartFailed(DalError):
    """One part of a parallel scan failed, and with it the scan.

    Args:
        message: Which part, and the error.
        hint: What to check: the hint of the error itself, where it has one.
        part: The part, with its number and its bounds.
    """

    def __init__(self, message: str, *, hint: str = "", part: Any = None) -> None:
        super().__init__(message, hint=hint)
        self.part = part


class StageFailed(DalError):
    """One stage of a pipeline failed, and with it the run.

    Args:
        message: Which stage, at which item, and the error.
        hint: What to check: the hint of the error itself, where it has one.
        stage: The stage's name.
        item: What it was at; None where that was no single item.
        report: The report of the run up to there.
    """

    def __init__(self, message: str, *, hint: str = "", stage: str = "", item: Any = None, report: Any = None) -> None:
        super().__init__(message, hint=hint)
        self.stage, self.item, self.report = stage, item, report


# The data: the rows are not what the call expects.


class NotFound(DalError, exc.NoResultFound):
    """Exactly one row was asked for and there is none."""


class MultipleFound(DalError, exc.MultipleResultsFound):
    """Exactly one row was asked for and there are several."""


class RowError(DalError, exc.DBAPIError):
    """A row cannot be written as it is; nothing of the call was, or of its part where a file is loaded part by part.

    Args:
        message: Which row, and what is wrong with it.
        hint: What to write.
        position: Its place among the rows given, from 0; -1 where nothing names it.
        column: The attribute at fault, where one is.
        value: Its value.
        row: The row as given.
        sqlstate: PostgreSQL's code for the reason; "" where the row was refused before it was sent.
        constraint: The constraint that refused it, where one did.
        orig: The driver's own error.
    """

    line: int | None = None
    """Its line in a file, from 1; None where rows did not come from one."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        position: int = -1,
        column: str | None = None,
        value: Any = None,
        row: Any = None,
        sqlstate: str = "",
        constraint: str | None = None,
        orig: BaseException | None = None,
    ) -> None:
        exc.DBAPIError.__init__(self, None, None, orig or Exception(message))
        self.args = (message,)
        self.hint = hint
        self.position = position
        self.column = column
        self.value = value
        self.row = row
        self.sqlstate = sqlstate
        self.constraint = constraint


class RowConflict(RowError, exc.IntegrityError):
    """A row breaks a constraint: a unique key, a foreign key, NOT NULL, a CHECK."""


class FileError(DalError, ValueError):
    """A file is not what its name or the call says: damaged, in another encoding, cut short, or changed since."""


# The work itself: a background job did not come to its end.


class JobFailed(DalError):
    """A background job failed for good.

    Args:
        message: The job, and the type and message of its last error.
        hint: What to do.
        traceback: Where it happened in the worker, as text.
    """

    def __init__(self, message: str, *, hint: str = "", traceback: str = "") -> None:
        super().__init__(message, hint=hint)
        self.traceback = traceback


class JobCancelled(DalError):
    """A background job was called off before it came to its end."""


# Time: it did not end within its bound.


class PoolTimeout(DalError, exc.TimeoutError):
    """No connection became free within `connection_timeout`."""


class DeadlineExceeded(DalError, exc.TimeoutError):
    """A unit of work did not end within its deadline."""


class QueueFull(DalError, queue.Full):
    """A batch writer has as many items on their way as it may have."""


# Nobody can tell: what happened has to be looked up.


class CommitUnknown(DalError):
    """The connection died during COMMIT and the server cannot say whether it was applied."""
