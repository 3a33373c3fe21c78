"""SQLAlchemy's bridge between asyncio and its sync core, the same one AsyncSession stands on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from sqlalchemy.util import await_only, greenlet_spawn

__all__ = ["run_sync", "wait"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def run_sync(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Await a sync function that may talk to an asyncio driver on its way."""
    call: Any = greenlet_spawn
    result: _T = await call(function, *args, **kwargs)
    return result


def wait(awaitable: Awaitable[_T]) -> _T:
    """Wait for an awaitable inside a function that `run_sync` runs."""
    return await_only(awaitable)
