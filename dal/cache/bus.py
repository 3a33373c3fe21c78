"""Bus: tells the other processes what was written here, and hears what they write, by LISTEN and NOTIFY of PostgreSQL.

One thread with a direct connection of its own. What was committed within 20 ms goes in one message, which carries a snapshot
that sees it, so a commit costs nothing more. As long as the bus is not listening, nothing is served or kept, and commits carry
their message inside their own transaction; when it listens (again), everything kept before is dropped.

A process that dies between its COMMIT and its message is noticed within a second: each bus holds an advisory lock, and where
one
is gone without a goodbye everything is dropped. Other programs may send table names themselves:
`SELECT pg_notify('dal_cache', 'users,orders')`.
"""

from __future__ import annotations

import json
import logging
import select
import socket
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from dal.cache.messages import listed, read, short, unlisted
from dal.cache.snapshot import CURRENT, Snapshot

__all__ = ["CHANNEL", "Bus", "Heard", "Listener"]

CHANNEL = "dal_cache"

_log = logging.getLogger("dal.cache")
_SPACING = 0.02
_TICK = 1.0
_LOCK_CLASS = 0x44_41_4C
_DOUBT = 60.0

_SEND = "SELECT pg_notify(%s, %s || pg_current_snapshot()::text || '\"}'), pg_current_snapshot()::text"
_PEERS = """
SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
# What is told is worth nothing after a crash, so nobody waits for the disk; and the server is to notice a machine that is gone.
_SETTINGS = """
SELECT set_config('synchronous_commit', 'off', false),
       set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2', false)"""
_LIFE = """
SELECT system_identifier::text, left(pg_walfile_name(pg_current_wal_lsn()), 8), pg_postmaster_start_time()::text,
       (SELECT min(pid) FROM pg_stat_activity WHERE datid IS NULL)::text,
       (SELECT oid FROM pg_database WHERE datname = current_database())::text, session_user::text
FROM pg_control_system()"""


@dataclass(frozen=True, slots=True)
class Heard:
    """What another process wrote: which tables (None is any), and a snapshot that sees it."""

    tables: frozenset[str] | None
    snapshot: Snapshot


class Listener(Protocol):
    """Who is told what the bus hears."""

    def began(self, floor: Snapshot, life: str) -> None:
        """Learn that it listens from now on: a snapshot taken since, and what tells this life of the server from others."""
        ...

    def lost(self) -> None:
        """Learn that it does not listen any more."""
        ...

    def heard(self, news: Heard) -> None:
        """Learn what another process wrote."""
        ...

    def settled(self, tables: frozenset[str] | None, until: int, snapshot: Snapshot) -> None:
        """Learn a snapshot that sees what this process wrote up to a moment of its clock."""
        ...

    def missed(self, floor: Snapshot) -> None:
        """Learn that a process ended without saying what it wrote last."""
        ...


class Bus:
    """The connection to the other processes.

    Args:
        connect: Opens a connection of psycopg in autocommit mode, apart from any pool.
        listener: Is told what it hears, in the bus's thread.
    """

    def __init__(self, connect: Callable[[], Any], listener: Listener) -> None:
        self.sender = uuid.uuid4().hex
        self.listening = False
        self._connect = connect
        self._listener = listener
        self._lock = threading.Lock()
        self._pending: set[str] = set()
        self._until = 0
        self._doubts: list[tuple[float, frozenset[str] | None]] = []
        self._thread: threading.Thread | None = None
        self._answered = threading.Event()
        self._closing = False
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._token = int(self.sender[:7], 16)
        self._peers: set[int] = set()
        self._leaving: set[int] = set()

    def start(self) -> threading.Event:
        """Begin to listen, if it did not yet.

        Returns:
            What is set once the first attempt has succeeded or failed.
        """
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._closing:
                    self._wake = socket.socketpair()
                    for end in self._wake:
                        end.setblocking(False)
                    self._thread = threading.Thread(target=self._run, name="dal-cache-bus", daemon=True)
                    self._thread.start()
        return self._answered

    def tell(self, tables: frozenset[str] | None, until: int, *, doubtful: bool = False) -> None:
        """Have the others told of a commit, soon.

        Args:
            tables: What it wrote; None is any.
            until: The moment of the guard's clock.
            doubtful: Whether it may come to pass only later, since its reply was lost; then it is told again.
        """
        with self._lock:
            asleep = not self._pending
            self._pending.update(listed(tables))
            self._until = until
            if doubtful:
                self._doubts.append((monotonic() + _DOUBT, tables))
        self.start()
        if asleep:
            self._poke()

    def close(self) -> None:
        """Tell the rest, say goodbye and end; again is nothing."""
        with self._lock:
            self._closing = True
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self._poke()
            thread.join(5.0)

    def _poke(self) -> None:
        wake = self._wake
        if wake is not None:
            # It may be full, or closed just now: then the thread is awake anyway.
            with suppress(OSError):
                wake[1].send(b".")

    def _run(self) -> None:
        try:
            self._keep_connected()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of what wakes the thread; in a forked child, where there is no thread, of what was inherited."""
        with self._lock:
            wake, self._wake = self._wake, None
        for end in wake or ():
            end.close()

    def _keep_connected(self) -> None:
        pause, told = 0.05, False
        while not self._closing:
            try:
                with self._connect() as connection:
                    self._begin(connection)
                    pause = 0.05
                    self._serve(connection)
            except Exception as error:
                self._answered.set()
                if not self._closing:
                    level = logging.WARNING if self.listening or not told else logging.DEBUG
                    _log.log(level, "the cache does not hear what other processes write, and is off meanwhile: %s", error)
                    told = True
            self._stop_listening()
            if not self._closing:
                self._sleep(pause)
                pause = min(pause * 2, 1.0)

    def _begin(self, connection: Any) -> None:
        connection.execute(_SETTINGS)
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (_LOCK_CLASS, self._token))
        connection.execute(f"LISTEN {CHANNEL}")
        self._greet(connection)
        self._peers = self._present(connection)
        self._listener.began(_snapshot(connection), _life(connection))
        self.listening = True
        self._answered.set()

    def _greet(self, connection: Any) -> None:
        """Let the others know, and hear it oneself: a pooler in between drops LISTEN without a word."""
        hello = json.dumps({"from": self.sender, "hello": self._token})
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, hello))
        for notice in connection.notifies(timeout=2.0):
            if notice.payload == hello:
                return
        raise ConnectionError("LISTEN has no effect on this connection; is a pooler in between? Give the cache a listen_url")

    def _serve(self, connection: Any) -> None:
        assert self._wake is not None
        looked = sent = monotonic()
        sent -= _SPACING
        while True:
            now = monotonic()
            if self._pending and (now >= sent + _SPACING or self._closing):
                self._send(connection)
                sent = monotonic()
            if self._closing:
                self._say_goodbye(connection)
                return
            if now >= looked + _TICK:
                self._look_for_peers(connection)
                self._tell_doubts_again()
                looked = monotonic()
            until = min(looked + _TICK, sent + _SPACING) if self._pending else looked + _TICK
            ready, _, _ = select.select([connection.fileno(), self._wake[0]], [], [], max(0.0, until - monotonic()))
            if self._wake[0] in ready:
                self._wake[0].recv(4096)
            self._hear(connection, list(connection.notifies(timeout=0)))

    def _send(self, connection: Any) -> None:
        with self._lock:
            tables, until = frozenset(self._pending), self._until
            self._pending.clear()
        try:
            snapshot = self._notify(connection, tables)
        except BaseException:
            with self._lock:
                self._pending |= tables
            raise
        self._listener.settled(unlisted(tables), until, snapshot)

    def _notify(self, connection: Any, tables: frozenset[str]) -> Snapshot:
        head = short(json.dumps({"from": self.sender, "tables": sorted(tables)}), self.sender)
        return Snapshot.of(connection.execute(_SEND, (CHANNEL, head[:-1] + ', "at": "')).fetchone()[1])

    def _hear(self, connection: Any, notices: list[Any]) -> None:
        unseen: set[str] = set()
        for notice in notices:
            told = read(notice.payload)
            if told.get("from") == self.sender:
                continue
            if "hello" in told:
                self._peers.add(told["hello"])
            elif "bye" in told:
                self._leaving.add(told["bye"])
            elif "at" in told:
                self._listener.heard(Heard(unlisted(told["tables"]), Snapshot.of(told["at"])))
            elif "tables" in told:
                unseen.update(map(str, told["tables"]))
        if unseen:
            self._listener.heard(Heard(unlisted(unseen), _snapshot(connection)))

    def _look_for_peers(self, connection: Any) -> None:
        present = self._present(connection)
        gone = self._peers - present - self._leaving
        self._peers, self._leaving = present, self._leaving & present
        if gone:
            self._listener.missed(_snapshot(connection))

    def _present(self, connection: Any) -> set[int]:
        return {row[0] for row in connection.execute(_PEERS, (_LOCK_CLASS,))}

    def _tell_doubts_again(self) -> None:
        with self._lock:
            self._doubts = [each for each in self._doubts if each[0] > monotonic()]
            for _, tables in self._doubts:
                self._pending.update(listed(tables))

    def _say_goodbye(self, connection: Any) -> None:
        goodbye = json.dumps({"from": self.sender, "bye": self._token})
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, goodbye))

    def _stop_listening(self) -> None:
        if self.listening:
            self.listening = False
            self._listener.lost()

    def _sleep(self, seconds: float) -> None:
        assert self._wake is not None
        ready, _, _ = select.select([self._wake[0]], [], [], seconds)
        if ready and not self._closing:
            self._wake[0].recv(4096)


def _snapshot(connection: Any) -> Snapshot:
    return Snapshot.of(connection.execute(CURRENT).fetchone()[0])


def _life(connection: Any) -> str:
    """Return what tells this life of the server, this database and this user from others.

    Where the server does not say, it is something that nobody shares.
    """
    try:
        return json.dumps(connection.execute(_LIFE).fetchone())
    except Exception:
        _log.info("the server does not tell its identity, so what is in Redis is not shared", exc_info=True)
        return uuid.uuid4().hex
