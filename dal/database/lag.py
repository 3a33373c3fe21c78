"""How far replicas are behind: measured by log positions, in one background thread, on connections of its own.

Every now and then the primary is asked for its position in the log, and each replica for what it has replayed. A replica that
has replayed what the primary had written at a moment shows at least that moment: its staleness is the time since then. No clock
of a server is read, no privilege is needed, an idle primary makes no replica look old, and a replica whose stream is cut does
look old. While the primary does not answer, a replica that has all that was last heard of it is as good as there is. Commits
with synchronous_commit off count from when they are on disk, which is up to 0.6 s after they were acknowledged.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sqlalchemy.engine import URL

__all__ = ["Lag", "Positions", "ReplicaState"]

_PRIMARY = "SELECT system_identifier::text, pg_current_wal_flush_lsn() - '0/0' FROM pg_control_system()"
_REPLICA = "SELECT system_identifier::text, pg_last_wal_replay_lsn() - '0/0', pg_is_in_recovery() FROM pg_control_system()"
_SHORTEST, _LONGEST, _PATIENCE = 0.05, 1.0, 1.0
_KEPT = 600.0


class Positions:
    """Where the primary's log was, and when.

    Example:
        >>> positions = Positions()
        >>> positions.note(100, at=10.0)
        >>> positions.note(200, at=11.0)
        >>> positions.staleness(150, now=12.0), positions.staleness(200, now=12.0), positions.staleness(50, now=12.0)
        (2.0, 1.0, inf)
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, position: int, *, at: float) -> None:
        """Note a position of the primary.

        Args:
            position: Bytes since the beginning of the log.
            at: When it was asked for.
        """
        if self._seen and position < self._seen[-1][1]:
            # A primary that went back is another one.
            self._seen.clear()
        self._seen.append((at, position))
        while self._seen[0][0] < at - _KEPT:
            self._seen.popleft()

    def staleness(self, replayed: int, *, now: float, silent: bool = False) -> float:
        """Work out how old what a replica shows may be.

        Args:
            replayed: Its position.
            now: The time.
            silent: Whether the primary does not answer.

        Returns:
            Seconds; infinity where that is not known.
        """
        if silent and self._seen and replayed >= self._seen[-1][1]:
            return 0.0
        return next((now - at for at, position in reversed(self._seen) if position <= replayed), float("inf"))


@dataclass(slots=True)
class ReplicaState:
    """What is known of a replica.

    Args:
        where: Host and port.
        staleness: Seconds that it may be behind, at the time of the last look.
        looked: When that was.
        problem: Why it is not used, if it is not.
    """

    where: str
    staleness: float = float("inf")
    looked: float = float("-inf")
    problem: str = "not looked at yet"

    def behind(self, now: float) -> float:
        """Seconds that it may be behind now."""
        return self.staleness + (now - self.looked)

    def fail(self, problem: str) -> None:
        """Note that it cannot be used until the next look."""
        self.problem, self.staleness = problem, float("inf")


class Lag:
    """Looks at the servers until it is closed.

    Args:
        primary: The primary's URL.
        replicas: The replicas' URLs.
        states: Where to note what is seen, one for each replica.
        bound: The staleness that is accepted; a quarter of it passes between looks.
    """

    def __init__(self, primary: URL, replicas: Sequence[URL], states: Sequence[ReplicaState], *, bound: float) -> None:
        self._servers = [_Server(url) for url in (primary, *replicas)]
        self._states = states
        self._pause = min(max(bound / 4, _SHORTEST), _LONGEST)
        self._positions = Positions()
        self._identity = ""
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="dal-replicas", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it, and wait until its connections are closed."""
        self._closed.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2 * _PATIENCE)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._look_on())

    async def _look_on(self) -> None:
        try:
            while not self._closed.is_set():
                await self._look()
                await asyncio.sleep(self._pause)
        finally:
            for server in self._servers:
                await server.close()

    async def _look(self) -> None:
        primary, *replicas = self._servers
        asked = monotonic()
        found = await asyncio.gather(primary.ask(_PRIMARY), *(replica.ask(_REPLICA) for replica in replicas))
        silent = isinstance(found[0], str)
        if not isinstance(found[0], str):
            self._identity = found[0][0]
            self._positions.note(int(found[0][1]), at=asked)
        for state, answer in zip(self._states, found[1:], strict=True):
            self._judge(state, answer, asked, silent)

    def _judge(self, state: ReplicaState, answer: tuple[Any, ...] | str, asked: float, silent: bool) -> None:
        if isinstance(answer, str):
            state.fail(answer)
        elif self._identity and answer[0] != self._identity:
            state.fail("it is no replica of this primary")
        elif not answer[2] or answer[1] is None:
            state.fail("it is no replica any more")
        else:
            state.staleness = self._positions.staleness(int(answer[1]), now=asked, silent=silent)
            state.looked, state.problem = asked, ""


class _Server:
    """A connection to one server, made again when it is lost."""

    def __init__(self, url: URL) -> None:
        dialect = url.set(drivername="postgresql+psycopg").get_dialect()()
        _, self._arguments = dialect.create_connect_args(url)
        self._arguments = {**self._arguments, "application_name": "dal replicas", "autocommit": True, "connect_timeout": 2}
        self._connection: Any = None

    async def ask(self, statement: str) -> tuple[Any, ...] | str:
        """Return a row, or what went wrong."""
        import psycopg

        try:
            async with asyncio.timeout(_PATIENCE):
                if self._connection is None:
                    self._connection = await psycopg.AsyncConnection.connect(**self._arguments)
                cursor = await self._connection.execute(statement)
                row: tuple[Any, ...] = await cursor.fetchone() or ()
                return row
        except (psycopg.Error, OSError, TimeoutError) as error:
            await self.close()
            return " ".join(str(error).split()) or "it does not answer"

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
