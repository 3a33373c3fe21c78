"""Single reads outside a transaction are run again, as units are: a `select()` that begins its session's transaction.

A session of `db.session()` begins a transaction with its first statement. When that is a `select()` and its connection turns
out dead, or the server breaks off with an error of the table in `dal.pool.retry`, nothing is lost with the transaction but the
statement itself: it is run once more. From the second statement on, inside `db.transaction()`, for `text()`, and where objects
of the session would expire that shall not, the error goes to the application: `db.run()` and `db.unit(read_only=True)` can run
everything again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import Result
from sqlalchemy.orm import ORMExecuteState, Session

if TYPE_CHECKING:
    from dal.database.units import Trying

__all__ = ["retrying_session"]


def retrying_session(base: type[Session], trying: Trying) -> type[Session]:
    """Make the class of a database's sessions.

    Args:
        base: The class they would have had.
        trying: How often it is tried.

    Returns:
        A class of their own, since listeners belong to a class.
    """
    found: type[Session] = type(base.__name__, (base,), {"__module__": base.__module__, "__doc__": base.__doc__})

    def execute(execution: ORMExecuteState) -> Result[Any] | None:
        if not _stands_alone(execution):
            return None
        tries = 0

        def once() -> Result[Any]:
            nonlocal tries
            tries += 1
            if tries > 1:
                execution.session.rollback()
            return execution.invoke_statement()

        return trying.retrying.run(once, read_only=True)

    event.listen(found, "do_orm_execute", execute)
    return found


def _stands_alone(execution: ORMExecuteState) -> bool:
    session = execution.session
    return (
        execution.is_select
        and not session.in_transaction()
        and not execution.is_column_load
        and not execution.is_relationship_load
        and (session.expire_on_commit or not session.identity_map)
    )
