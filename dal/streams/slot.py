"""The publication and the replication slot of a stream: looked at, made where missing, dropped when told.

A stream `billing` has the publication `dal_billing` in its database and the slot `dal_<database oid>_billing` on the server,
where slots of all databases share one set of names. A stream without a name has a temporary slot, which ends with its
connection and cannot be resumed.

    CREATE PUBLICATION dal_billing FOR TABLE orders WITH (publish = '...', publish_via_partition_root = true)
    CREATE_REPLICATION_SLOT dal_16384_billing LOGICAL pgoutput
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection
from time import monotonic

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dal.errors import ReplicationError, SlotLost, UsageError
from dal.own_statements import ask
from dal.streams.change import Kind
from dal.streams.waiting import Waiting
from dal.streams.wire import Wire

__all__ = ["PREFIX", "TEMPORARY", "Slot", "checked_name"]

PREFIX = "dal_"
"""What the publications and slots of dal start with."""

TEMPORARY = "temporary_"
"""What follows it for a stream without a name."""

_NAME = re.compile(r"[a-z0-9_]{1,40}")
_MADE = "a change stream of dal; its slot was made"
_SERVER = """
SELECT coalesce(current_setting('effective_wal_level', true), current_setting('wal_level')), pg_is_in_recovery(),
  current_setting('max_replication_slots')::int, (SELECT count(*)::int FROM pg_replication_slots),
  (SELECT oid::int8 FROM pg_database WHERE datname = current_database()), system_identifier::text FROM pg_control_system()"""
_SLOT = "SELECT plugin::text, wal_status::text, active_pid FROM pg_replication_slots WHERE slot_name = %s"
_DROP = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
_PUBLICATION = """
SELECT p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.puballtables, obj_description(p.oid, 'pg_publication'),
  ARRAY(SELECT quote_ident(t.schemaname) || '.' || quote_ident(t.tablename) FROM pg_publication_tables t
        WHERE t.pubname = p.pubname)
FROM pg_publication p WHERE p.pubname = %s"""


def checked_name(name: str | None) -> str | None:
    """Check the name of a stream.

    Args:
        name: The name, or None for a temporary stream.

    Raises:
        UsageError: It cannot be part of a slot's name.
    """
    if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name) or name.startswith(TEMPORARY)):
        raise UsageError(
            f"{name!r} cannot name a stream: up to 40 lower-case letters, digits and underscores can",
            hint='db.changes(Order, name="billing")',
        )
    return name


class Slot:
    """The publication and slot of one stream.

    Args:
        name: The stream's name; None for a temporary one.
        publication: A publication somebody else made and keeps; by default the stream makes its own.
    """

    def __init__(self, name: str | None, publication: str | None) -> None:
        self.temporary = name is None
        self.stream = f"{TEMPORARY}{uuid.uuid4().hex[:16]}" if name is None else name
        self._given = publication
        self.publication = publication or f"{PREFIX}{self.stream}"
        self.slot = self.origin = ""
        self.exists = False
        self.was_made = False

    def look(self, connection: Connection) -> None:
        """Look at the server, without making anything.

        Args:
            connection: In autocommit.

        Raises:
            ReplicationError: The server cannot have the slot.
            SlotLost: It had the slot, and it is gone or useless.
        """
        level, recovering, most, used, database, system = ask(connection, _SERVER)
        self.slot = f"{PREFIX}{database}_{self.stream}"
        self.origin = f"{system}/{database}"
        if recovering:
            raise ReplicationError("the server is a replica: streams are read from the primary", hint="use the primary's URL")
        if level != "logical":
            raise ReplicationError(
                f"the server's wal_level is {level}, so its log does not tell changes",
                hint="ALTER SYSTEM SET wal_level = logical, and restart the server; or db.changes(..., via='outbox')",
            )
        found = ask(connection, _SLOT, self.slot)
        self.exists = bool(found)
        if found:
            self._check(*found)
        elif used >= most:
            raise ReplicationError(
                f"all {most} replication slots of the server are taken",
                hint="drop one that nobody reads (dal changes list), or raise max_replication_slots and restart the server",
            )

    def publish(self, connection: Connection, tables: Collection[str], kinds: frozenset[Kind]) -> None:
        """Make the publication, or change it to what is asked for.

        Args:
            connection: In autocommit.
            tables: The tables, with schema and quoted.
            kinds: The kinds of changes wanted.

        Raises:
            ReplicationError: The role may not, or a publication made by somebody else lacks something.
            SlotLost: The publication remembers a slot that is not there any more.
        """
        found = ask(connection, _PUBLICATION, self.publication)
        try:
            if self._given is not None:
                self._check_given(found, tables, kinds)
            elif not found:
                ask(connection, f"CREATE PUBLICATION {self.publication} FOR TABLE {', '.join(tables)} WITH ({_options(kinds)})")
            else:
                self._refresh(connection, found, tables, kinds)
        except DBAPIError as error:
            raise ReplicationError(
                f"the publication {self.publication} could not be made: {_first_line(error.orig)}",
                hint="the role needs CREATE on the database and has to own the tables; or let somebody make a publication"
                f" and name it: CREATE PUBLICATION {self.publication} FOR TABLE {', '.join(tables)}; publication=...",
            ) from error

    def make(self, wire: Wire, connection: Connection, *, seconds: float) -> None:
        """Make the slot where it is missing.

        Args:
            wire: The connection that will stream.
            connection: In autocommit.
            seconds: How long to wait for transactions that are under way, which the server does.

        Raises:
            ReplicationError: It could not be made.
        """
        if self.exists:
            return
        temporary = " TEMPORARY" if self.temporary else ""
        try:
            wire.query(f"CREATE_REPLICATION_SLOT {self.slot}{temporary} LOGICAL pgoutput NOEXPORT_SNAPSHOT", seconds=seconds)
        except psycopg.errors.QueryCanceled as error:
            raise ReplicationError(
                f"the slot was not made within {seconds:.0f} s: the server first waits for all transactions that write now",
                hint="commit what is open: SELECT pid, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL",
            ) from error
        except (psycopg.errors.ConfigurationLimitExceeded, psycopg.errors.InsufficientPrivilege) as error:
            raise ReplicationError(
                f"the replication slot could not be made: {_first_line(error)}",
                hint="drop a slot that nobody reads (dal changes list), or raise max_replication_slots",
            ) from error
        self.exists = self.was_made = True
        if self._given is None and not self.temporary:
            ask(connection, f"COMMENT ON PUBLICATION {self.publication} IS '{_MADE}'")

    def drop(self, connection: Connection, waiting: Waiting, *, seconds: float) -> None:
        """Drop the slot and the publication; what is not there is fine.

        Args:
            connection: In autocommit.
            waiting: How to wait.
            seconds: How long to wait for whoever reads the slot now to be gone.

        Raises:
            ReplicationError: Somebody reads the slot now.
        """
        self.slot = f"{PREFIX}{ask(connection, _SERVER)[4]}_{self.stream}"
        until = monotonic() + seconds
        while True:
            try:
                ask(connection, _DROP, self.slot)
                break
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) == "55006" and monotonic() < until:
                    waiting.rest(0.05)
                    continue
                raise ReplicationError(
                    f"the slot {self.slot} could not be dropped: {_first_line(error.orig)}",
                    hint="stop whoever reads the stream first",
                ) from error
        if self._given is None:
            ask(connection, f"DROP PUBLICATION IF EXISTS {self.publication}")
        self.exists = False

    def lost(self, why: str) -> SlotLost:
        """Make the error that tells that changes are gone.

        Args:
            why: What happened to the slot.
        """
        return SlotLost(
            f"the stream {self.stream!r} has lost changes: {why}",
            hint="db.changes(...).drop() forgets its position; then read the tables anew. The server's"
            " max_slot_wal_keep_size says how far a stream may stay behind",
        )

    def _check(self, plugin: str, status: str | None, _pid: int | None) -> None:
        if plugin != "pgoutput":
            raise ReplicationError(
                f"the slot {self.slot} is there, but made for {plugin}, not for pgoutput", hint="choose another name"
            )
        if status == "lost":
            raise self.lost(f"its slot {self.slot} fell so far behind that the server removed the log it needs")

    def _check_given(self, found: tuple[object, ...], tables: Collection[str], kinds: frozenset[Kind]) -> None:
        if not found:
            raise ReplicationError(
                f"there is no publication {self.publication}",
                hint=f"CREATE PUBLICATION {self.publication} FOR TABLE {', '.join(tables)}",
            )
        published = {kind for kind, on in zip(("insert", "update", "delete", "truncate"), found[:4], strict=True) if on}
        has: object = found[6]
        missing = sorted(set(tables) - set(has if isinstance(has, list) else ()))
        if missing or kinds - published:
            raise ReplicationError(
                f"the publication {self.publication} lacks {', '.join([*missing, *sorted(kinds - published)])}",
                hint=f"ALTER PUBLICATION {self.publication} ADD TABLE / SET (publish = ...), or leave out publication=",
            )

    def _refresh(
        self, connection: Connection, found: tuple[object, ...], tables: Collection[str], kinds: frozenset[Kind]
    ) -> None:
        if found[5] == _MADE and not self.exists:
            raise self.lost("its slot was dropped")
        has: object = found[6]
        if set(has if isinstance(has, list) else ()) != set(tables):
            ask(connection, f"ALTER PUBLICATION {self.publication} SET TABLE {', '.join(tables)}")
        published = {kind for kind, on in zip(("insert", "update", "delete", "truncate"), found[:4], strict=True) if on}
        if published != kinds:
            ask(connection, f"ALTER PUBLICATION {self.publication} SET ({_options(kinds)})")


def _options(kinds: Collection[str]) -> str:
    return f"publish = '{', '.join(sorted(kinds))}', publish_via_partition_root = true"


def _first_line(error: object) -> str:
    return (str(error).splitlines() or ["unknown"])[0]
