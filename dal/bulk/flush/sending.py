"""Sending: the COPY of a flush as a statement of SQLAlchemy's, which events, logs and deadlines see as they see any other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from sqlalchemy import Dialect, event

from dal.bulk.context import Context
from dal.bulk.flush.completing import Completed
from dal.bulk.sending import Destination, copy_statement

__all__ = ["send"]

_OPTION = "dal_copy"
_lock = threading.Lock()
_heard: WeakSet[Dialect] = WeakSet()


def send(context: Context, completed: Completed) -> None:
    """Send rows by COPY.

    Args:
        context: The call.
        completed: The rows.

    Raises:
        DBAPIError: The server refused one.
        BadRow: psycopg cannot encode one.
    """
    destination = Destination(context.table(), completed.plan)
    binary = completed.plan.binary
    statement = copy_statement(context, destination, binary=binary)

    def copy(cursor: Any, text: str) -> None:
        with context.wire.copying(cursor, text, destination.wire) as copying:
            copying.write_rows(completed.wire_rows)

    _hear(context.connection.dialect)
    options: dict[str, Any] = {"no_parameters": True, "stream_results": False, _OPTION: copy}
    context.connection.exec_driver_sql(statement, execution_options=options)


def _hear(dialect: Dialect) -> None:
    if dialect not in _heard:
        with _lock:
            if dialect not in _heard:
                event.listen(dialect, "do_execute_no_params", _do)
                _heard.add(dialect)


def _do(cursor: Any, statement: str, context: Any) -> bool:
    """Do what a cursor does not: a COPY needs rows beside its text."""
    copy: Callable[[Any, str], None] | None = context.execution_options.get(_OPTION)
    if copy is None:
        return False
    copy(cursor, statement)
    return True
