"""AsyncReplica: the async door to a database's replicas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from dal.asyncio.units import DOOR, AsyncUnit
from dal.database.health import Problem
from dal.database.lag import ReplicaState
from dal.database.replicas import Replicas
from dal.database.units import Isolation, Trying, describe
from dal.durations import Duration

__all__ = ["AsyncReplica"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class AsyncReplica:
    """The replicas of an AsyncDatabase, to be read from; see `dal.database.replicas.Replica`.

    Args:
        sessions: Makes sessions over the replicas.
        replicas: The replicas.
        trying: How units are run again.
        primary: The primary's engine.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession], replicas: Replicas, trying: Trying, primary: Engine) -> None:
        self._sessions, self._replicas, self._trying, self._primary = sessions, replicas, trying, primary

    def session(self) -> AsyncSession:
        """Make a read-only session; see `Replica.session`."""
        self._replicas.keep_to_deadline()
        return self._sessions()

    def unit(
        self, *, isolation: Isolation | None = None, deadline: Duration | None = None, retry_on: Collection[str] = ()
    ) -> AsyncUnit:
        """Describe a unit of work that only reads; see `Replica.unit`."""
        said: dict[str, Any] = {"isolation": isolation, "deadline": deadline, "retry_on": retry_on}
        return AsyncUnit(describe(self._sync_session, self._trying, self._primary, read_only=True, **said))

    async def run(
        self, work: Callable[Concatenate[AsyncSession, _P], Awaitable[_T]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run a coroutine function that only reads in one transaction; see `Replica.run`."""
        return await self.unit().run(work, *args, **kwargs)

    def states(self) -> Sequence[ReplicaState]:
        """Return what is known of each replica."""
        return tuple(self._replicas.states)

    def problems(self) -> list[Problem]:
        """Say which replicas are not used, and why."""
        return self._replicas.problems()

    def close(self) -> None:
        """Let go of the replicas; `await db.close()` does it."""
        self._replicas.close()

    def _sync_session(self) -> Session:
        session = self.session()
        session.sync_session.info[DOOR] = session
        return session.sync_session
