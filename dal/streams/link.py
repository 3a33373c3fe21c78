"""The streaming connection of a slot's consumer: begins to stream, reports how far it came, and takes leave."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

import psycopg
from sqlalchemy import Engine

from dal.errors import ReplicationError
from dal.pool.connecting import target
from dal.streams.position import lsn_text
from dal.streams.progress import Progress
from dal.streams.slot import Slot
from dal.streams.waiting import Waiting
from dal.streams.wire import CONNECTION_LOST, Wire, connect

__all__ = ["STATUS_EVERY", "Link"]

STATUS_EVERY = 1.0
"""Seconds after which the server is told how far the stream came, whether or not anything did."""

_CONNECT, _USED_UP_PAUSE, _SHUTDOWN_PINGS = 10.0, 0.1, 20
_KEEPALIVE = struct.Struct("!QqB").unpack_from


class Link:
    """The connection of one consumer, there or not.

    Args:
        engine: The application's engine: which server is meant, for errors.
        waiting: How to wait.
        progress: The consumer's books, which it reports.
        patience: Seconds to wait where the server has no walsender left: that of a killed consumer is gone only soon.

    Attributes:
        wire: The connection; None where there is none.
        was_up: Whether it has ever streamed.
    """

    def __init__(self, engine: Engine, waiting: Waiting, progress: Progress, *, patience: float) -> None:
        self._engine, self._waiting, self._progress, self._patience = engine, waiting, progress, patience
        self.wire: Wire | None = None
        self.was_up = False
        self._reported, self._reported_at, self._pings = 0, 0.0, 0

    def connect(self, parameters: Sequence[tuple[str, str]]) -> Wire:
        """Connect, without streaming.

        Args:
            parameters: libpq's.

        Raises:
            ReplicationError: The server does not let this role stream.
            ConnectFailed: There is no connection to be had.
        """
        until = monotonic() + self._patience
        while True:
            try:
                return connect(parameters, self._waiting, seconds=_CONNECT, replication=True)
            except psycopg.Error as error:
                text = str(error)
                used_up = "max_wal_senders" in text and not self.was_up
                if used_up and monotonic() < until and not self._waiting.stopped:
                    self._waiting.rest(_USED_UP_PAUSE)
                    continue
                if used_up or "WAL sender" in text or "walsender" in text or "no pg_hba.conf entry for replication" in text:
                    raise ReplicationError(
                        f"the server does not let this role stream: {' '.join(text.split())}",
                        hint="ALTER ROLE ... REPLICATION and a line in pg_hba.conf; where max_wal_senders is used up, raise it",
                    ) from error
                failure = target(self._engine.dialect).failure(error)
                raise failure from error

    def stream(self, slot: Slot, parameters: Sequence[tuple[str, str]]) -> None:
        """Begin to stream behind what is done with.

        Args:
            slot: The slot, with its publication.
            parameters: libpq's.

        Raises:
            ReplicationError: The server does not let this role stream.
            ConnectFailed: There is no connection to be had.
            psycopg.Error: The server refused to stream.
        """
        wire = self.wire if self.wire is not None else self.connect(parameters)
        try:
            wire.query(
                f"START_REPLICATION SLOT {slot.slot} LOGICAL {lsn_text(self._progress.confirmed)}"
                f" (proto_version '1', publication_names '\"{slot.publication}\"')",
                seconds=_CONNECT,
            )
        except BaseException:
            wire.close()
            self.wire = None
            raise
        self._reported_at = 0.0
        self.wire, self.was_up = wire, True

    def heard_of(self) -> None:
        """Note that changes come: a server that shuts down sends none."""
        self._pings = 0

    def kept_alive(self, message: bytes, *, between: bool) -> None:
        """Read a keepalive, and answer where it asks.

        Args:
            message: It.
            between: Whether no transaction is half read.

        Raises:
            psycopg.OperationalError: The server shuts down.
        """
        end, _, reply = _KEEPALIVE(message, 1)
        if between:
            self._progress.heard(end)
        if not reply:
            return
        self.report()
        self._pings += 1
        if self._pings > _SHUTDOWN_PINGS and self._progress.waits:
            # A server that shuts down asks without pause until all is confirmed. What is not done with cannot be: let it go.
            raise CONNECTION_LOST("the server is shutting down")

    def report(self, *, reply: bool = False) -> None:
        """Tell the server how far the stream came.

        Args:
            reply: Ask for its time in return.

        Raises:
            psycopg.Error: The connection is lost.
        """
        if self.wire is not None:
            self.wire.report(self._progress.received, self._progress.confirmed, reply=reply)
            self._reported, self._reported_at = self._progress.confirmed, monotonic()

    def report_if_due(self) -> None:
        """Tell the server where something more is done with, and now and then."""
        due = monotonic() - self._reported_at >= STATUS_EVERY
        if due:
            self._pings = 0
        if due or self._progress.confirmed > self._reported:
            self.report()

    def close(self) -> None:
        """Tell the server what is done with, and disconnect; again is nothing."""
        if self.wire is None:
            return
        with suppress(psycopg.Error):
            self.report()
        wire, self.wire = self.wire, None
        wire.close()
