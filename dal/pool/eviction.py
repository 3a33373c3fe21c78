"""Which errors mean that a connection, or every connection, must not be used again, although it still answers.

| SQLSTATE | meaning | goes |
|---|---|---|
| 25006 | the server became read-only: a demoted primary | all, unless the unit asked for read-only |
| 0A000 from a cached plan | the table changed under prepared statements | all |
| 26000, 42P05 | prepared statements are mixed up by a proxy | this one |
| 58*, XX* | the server's own trouble | this one |
| 08*, 57P0x and whatever closes the connection | it is dead | this one, and the idle ones are looked at |
| none, in the middle of a command | its socket is closed, and psycopg does not say so | likewise |
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Dialect, ExceptionContext

from dal.own_statements import left_in_the_middle
from dal.pool._internals import driver_of

__all__ = ["concerns_all", "watch"]

ENTRY = "dal.entry"

_ONE = ("26000", "42P05", "58", "XX")


def watch(dialect: Any) -> None:
    """Mark such errors as disconnects, and remember each connection's last statement; once for each dialect."""
    if not isinstance(dialect, Dialect) or dialect.driver != "psycopg" or event.contains(dialect, "handle_error", _judge):
        return
    event.listen(dialect, "handle_error", _judge)
    event.listen(dialect, "do_execute", _remember)
    event.listen(dialect, "do_executemany", _remember)
    event.listen(dialect, "do_execute_no_params", _remember_bare)


def concerns_all(error: BaseException | None) -> bool:
    """Tell whether an error that invalidated a connection is about all of them."""
    state = getattr(error, "sqlstate", None)
    return state == "25006" or (state == "0A000" and _is_stale_plan(error))


def _judge(context: ExceptionContext) -> None:
    error = context.original_exception
    state = getattr(error, "sqlstate", None)
    if context.is_disconnect or context.connection is None:
        return
    if not state:
        context.is_disconnect = left_in_the_middle(error, driver_of(context.connection))
        return
    if (state == "25006" and not _asked_for_read_only(context)) or (state == "0A000" and _is_stale_plan(error)):
        context.is_disconnect = True
    elif state.startswith(_ONE):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False


def _asked_for_read_only(context: ExceptionContext) -> bool:
    """Tell the application's own READ ONLY from a server's: only the latter is reported by the server, since version 14."""
    driver = driver_of(context.connection)
    if driver is None or driver.read_only:
        return True
    reports = [driver.pgconn.parameter_status(name) for name in (b"in_hot_standby", b"default_transaction_read_only")]
    return None not in reports and b"on" not in reports


def _is_stale_plan(error: Any) -> bool:
    diagnostics = getattr(error, "diag", None)
    return getattr(diagnostics, "source_function", None) == "RevalidateCachedQuery"


def _remember(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
    known = context.root_connection.connection.record_info
    if known is not None and ENTRY in known:
        known[ENTRY].statement = statement


def _remember_bare(cursor: Any, statement: str, context: Any) -> None:
    _remember(cursor, statement, None, context)
