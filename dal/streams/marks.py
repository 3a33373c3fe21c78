"""Where a flow stands, in a table: its position, and what its windows hold; written in the transaction of what it stands for.

    CREATE TABLE dal_stream_positions (name text PRIMARY KEY, position text NOT NULL, state text NOT NULL, server text NOT NULL,
                                       written_at timestamptz NOT NULL)

A row is only replaced by the consumer that knows what it says: one that was believed dead and comes back writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dal.errors import ReplicationError, SlotLost
from dal.own_statements import ask

__all__ = ["TABLE", "Kept", "forget", "make_table", "read_mark", "write_mark"]

TABLE = "dal_stream_positions"
"""The table; it is made in the first schema of the search path."""

_CREATE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (name text PRIMARY KEY, position text NOT NULL, state text NOT NULL, server text NOT NULL,
written_at timestamptz NOT NULL)"""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a flow left behind.

    Attributes:
        position: The mark of the last transaction that is done with.
        state: What its windows held; empty where there are none.
    """

    position: str
    state: str


def make_table(connection: Connection) -> None:
    """Make the table where it is missing.

    Args:
        connection: In autocommit, or in a transaction of its own.

    Raises:
        ReplicationError: The role may not.
    """
    if ask(connection, "SELECT to_regclass(%s)::text", TABLE)[0] is not None:
        return
    try:
        # IF NOT EXISTS alone fails, with one of several errors, where two make the table at once.
        ask(connection, f"DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('{TABLE}')); {_CREATE}; END $$")
    except DBAPIError as error:
        raise ReplicationError(
            f"the table {TABLE} could not be made: {str(error.orig).splitlines()[0]}",
            hint="let somebody who may: " + " ".join(_CREATE.split()),
        ) from error


def read_mark(connection: Connection, name: str, server: str) -> Kept | None:
    """Return what the flow of a stream left behind.

    Args:
        connection: Where to look.
        name: The stream.
        server: Which server the stream comes from.

    Raises:
        SlotLost: It was another server's.
    """
    found = ask(connection, f"SELECT position, state, server FROM {TABLE} WHERE name = %s", name)
    if not found:
        return None
    position, state, origin = found
    if origin != server:
        raise SlotLost(
            f"the position kept for the stream {name!r} is of another server or database ({origin}, this is {server})",
            hint="give each stream that writes to this database a name of its own, or forget the position: changes.drop()",
        )
    return Kept(position, state)


def write_mark(connection: Connection, name: str, before: Kept | None, after: Kept, server: str) -> None:
    """Write where a flow stands.

    Args:
        connection: In the transaction of what was done up to there.
        name: The stream.
        before: What the table said last.
        after: What it is to say.
        server: Which server the stream comes from.

    Raises:
        ReplicationError: It says something else: another consumer has gone on with the stream.
    """
    if before is None:
        done = ask(
            connection,
            f"INSERT INTO {TABLE} VALUES (%s, %s, %s, %s, clock_timestamp()) ON CONFLICT (name) DO NOTHING RETURNING 1",
            name, after.position, after.state, server,
        )  # fmt: skip
    else:
        done = ask(
            connection,
            f"UPDATE {TABLE} SET position = %s, state = %s, written_at = clock_timestamp()"
            " WHERE name = %s AND position = %s AND server = %s RETURNING 1",
            after.position, after.state, name, before.position, server,
        )  # fmt: skip
    if not done:
        raise ReplicationError(
            f"another consumer has gone on with the stream {name!r}", hint="run one consumer for each name; this one stops"
        )


def forget(connection: Connection, name: str) -> None:
    """Forget where a flow stands, if the table is there.

    Args:
        connection: In autocommit.
        name: The stream.
    """
    if ask(connection, "SELECT to_regclass(%s)::text", TABLE)[0] is not None:
        ask(connection, f"DELETE FROM {TABLE} WHERE name = %s", name)
