"""AsyncUnit: the async door to a unit of work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from dal.asyncio._bridge import run_sync, wait
from dal.database.units import Unit

__all__ = ["DOOR", "AsyncUnit"]

DOOR = "dal.async_session"
"""Where a sync session keeps the AsyncSession it belongs to, which SQLAlchemy holds only weakly."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class AsyncUnit:
    """One transaction, run as a whole; made by `db.unit(...)`.

    Args:
        unit: The unit it is the door to.
    """

    unit: Unit

    async def run(
        self, work: Callable[Concatenate[AsyncSession, _P], Awaitable[_T]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run a coroutine function in this unit, or in the one it is called in; see `Unit.run`."""

        def inside(session: Session) -> _T:
            return wait(work(session.info[DOOR], *args, **kwargs))

        return await run_sync(self.unit.run, inside)

    def wrap(self, work: Callable[Concatenate[AsyncSession, _P], Awaitable[_T]]) -> Callable[_P, Awaitable[_T]]:
        """Return the coroutine function without its first parameter; each call runs as this unit."""

        @wraps(work)
        async def called(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            return await self.run(work, *args, **kwargs)

        return called
