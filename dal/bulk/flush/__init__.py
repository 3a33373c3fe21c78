"""Flushes at the speed of COPY: `add_all()` and `commit()` of many objects, with SQLAlchemy's own unit of work around it.

    with db.session(bulk_flush=True) as session, session.begin():
        session.add_all(users)          # thousands: cascades, order, ids, defaults and events as ever
    bulk_flush(session).fallbacks       # what went by INSERT all the same, and why

What comes before the INSERTs of a flush stays SQLAlchemy's (the order of tables and objects, `before_insert`, keys copied from
parents), and so does what comes after (`after_insert`, states, expiry). In the middle, where the INSERTs of one mapper into
one table are sent, the ids are taken from their sequence and the rows go by COPY, under a savepoint. Whatever cannot go that
way goes the ordinary one, and so does what the server refuses, so that errors are SQLAlchemy's own.

It pays from a hundred new objects in a flush on. `bulk_flush(session)` switches it on as well, for a session of `db.run()` or
of an application's own. Where objects are not needed afterwards, `BulkWriter` is faster still.
"""

from dal.bulk.flush.report import Fallback, FlushReport
from dal.bulk.flush.switch import bulk_flush

__all__ = ["Fallback", "FlushReport", "bulk_flush"]
