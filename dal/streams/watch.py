"""What dal's streams hold on a server, and what to do about those that nobody reads.

A slot keeps the server's log until its stream has read it: one that nobody reads fills the disk. `db.health()` tells of those;
`prune` and `dal changes prune` drop them by a policy; the server's own max_slot_wal_keep_size is the bound that always holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dal.errors import ConfigError
from dal.own_statements import ask
from dal.streams.marks import forget
from dal.streams.slot import PREFIX, TEMPORARY

__all__ = ["MANY_BYTES", "SlotState", "byte_count", "problems", "prune", "slots"]

MANY_BYTES = 1 << 30
"""How much log a stream may hold before `db.health()` tells."""

_SLOTS = """
SELECT coalesce(json_agg(json_build_array(slot_name, active, wal_status, held, behind) ORDER BY slot_name), '[]')::text
FROM (SELECT slot_name::text, active, wal_status::text,
        pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 AS held,
        pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::int8 AS behind,
        starts_with(slot_name::text, 'dal_' || d.oid::text || '_') AS ours
      FROM pg_replication_slots s JOIN pg_database d ON d.datname = s.database
      WHERE NOT pg_is_in_recovery() AND d.datname = current_database() AND slot_type = 'logical') AS found WHERE ours"""
_STRAY = """
SELECT coalesce(json_agg(pubname), '[]')::text FROM pg_publication p WHERE starts_with(pubname::text, 'dal_temporary_')
AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.slot_name::text LIKE concat('dal_', (SELECT oid FROM pg_database
WHERE datname = current_database()), substr(pubname::text, 4)))"""
_BOUND = "SELECT current_setting('max_slot_wal_keep_size', true)"
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)?\s*", re.ASCII)
_UNITS = {None: 1, "B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}


@dataclass(frozen=True, slots=True)
class SlotState:
    """A stream's slot as the server sees it.

    Attributes:
        stream: The stream's name.
        slot: The slot's name.
        active: Whether somebody reads it now.
        status: The server's wal_status: reserved, extended, unreserved or lost.
        held: Bytes of log the server keeps for it; None once they are gone.
        behind: Bytes of log it has not acknowledged.
    """

    stream: str
    slot: str
    active: bool
    status: str | None
    held: int | None
    behind: int | None


def byte_count(value: int | str, *, name: str) -> int:
    """Read a number of bytes.

    Args:
        value: Bytes, or a text such as `"512MB"`.
        name: The setting it belongs to, for the error.

    Raises:
        ConfigError: It is none.

    Example:
        >>> byte_count("1.5kB", name="max_lag")
        1536
    """
    match = _SIZE.fullmatch(str(value)) if not isinstance(value, bool) else None
    if match is None:
        raise ConfigError(f"{name}: {value!r} is not a number of bytes", hint="write bytes, or a text such as '512MB', '2GB'")
    return int(float(match[1]) * _UNITS[match[2]])


def slots(connection: Connection) -> tuple[SlotState, ...]:
    """List the slots of dal's streams in a database.

    Args:
        connection: A connection to it.
    """
    listed = json.loads(ask(connection, _SLOTS)[0])
    return tuple(
        SlotState(re.sub(rf"^{PREFIX}\d+_", "", slot), slot, active, status, held, behind)
        for slot, active, status, held, behind in listed
    )


def problems(connection: Connection) -> Iterator[tuple[str, str]]:
    """Tell what is wrong with the streams of a database, and what to do.

    Args:
        connection: A connection to it.

    Yields:
        What is wrong, and the fix.
    """
    listed = slots(connection)
    for slot in listed:
        drop = f"start its consumer, or drop it: dal changes drop {slot.stream}"
        if slot.status == "lost":
            yield f"the change stream {slot.stream!r} has lost changes: it fell too far behind", drop
        elif slot.status == "unreserved":
            yield f"the change stream {slot.stream!r} is about to lose changes: the server is past max_slot_wal_keep_size", drop
        elif (slot.held or 0) >= MANY_BYTES:
            read = "is read too slowly" if slot.active else "is read by nobody"
            yield f"the change stream {slot.stream!r} {read}: the server keeps {slot.held or 0:,} bytes of log for it", drop
    if any(not slot.active for slot in listed) and ask(connection, _BOUND)[0] == "-1":
        idle = ", ".join(repr(slot.stream) for slot in listed if not slot.active)
        yield (
            f"nobody reads the change stream {idle}, and the server keeps its log for it without bound",
            "start its consumer, or drop it (dal changes drop NAME), or set a bound:"
            " ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'",
        )


def prune(connection: Connection, *, max_lag: int) -> tuple[str, ...]:
    """Drop the slots that nobody reads and for which the server keeps more log than this, and what temporary streams left.

    Args:
        connection: In autocommit.
        max_lag: Bytes of log.

    Returns:
        The names of the streams that are gone.
    """
    gone = []
    for slot in slots(connection):
        if slot.active or (slot.status != "lost" and (slot.held or 0) < max_lag):
            continue
        try:
            ask(connection, "SELECT pg_drop_replication_slot(%s)", slot.slot)
        except DBAPIError:
            continue  # somebody began to read it just now
        ask(connection, f"DROP PUBLICATION IF EXISTS {PREFIX}{slot.stream}")
        forget(connection, slot.stream)
        gone.append(slot.stream)
    for publication in json.loads(ask(connection, _STRAY)[0]):
        ask(connection, f'DROP PUBLICATION IF EXISTS "{publication}"')
    return tuple(gone)


assert f"{PREFIX}{TEMPORARY}" in _STRAY
