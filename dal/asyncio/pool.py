"""The async door to the pools: `AsyncObjectPool`, and a `ConnectionPool`'s slow methods as coroutines."""

# ruff: noqa: ASYNC109  the timeout is the pool's own: it explains itself when it ends

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from types import TracebackType
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from dal.durations import Duration, seconds
from dal.errors import UsageError
from dal.events import Observer
from dal.pool import ConnectionPool, ObjectPool, PoolStats
from dal.pool._internals import wait_for
from dal.pool.entry import Entry
from dal.pool.objects import check_functions
from dal.pool.runtime import Tasks

__all__ = ["AsyncConnectionPool", "AsyncLease", "AsyncObjectPool"]

T = TypeVar("T")

_SITE_DEPTH = 2


class AsyncObjectPool(Generic[T]):
    """Keep objects ready and lend them out to tasks; `ObjectPool` whose hooks may be coroutine functions.

    Args:
        factory: Makes an object; what it raises is raised by the borrowers that wait. A plain function will do as well.
        reset: Cleans an object when it comes back; one whose reset raises is destroyed.
        validate: Tells at each borrow, and now and then in the background, whether an object is still good.
        destroy: Ends an object.
        min_size: Objects kept ready.
        max_size: Objects at most.
        timeout: How long `acquire()` waits by default.
        idle_timeout: How long an object above `min_size` may lie idle before it is destroyed.
        max_lifetime: How long an object lives before it is replaced.
        keepalive: How often an idle object is validated in the background.
        leak_threshold: How long an object may be out before that is logged with the line that borrowed it; 0 is never.
        name: What messages and facts call the pool.
        observer: Is told what happens, see `dal.events`.

    Raises:
        ConfigError: A size or duration is not accepted.

    Example:
        >>> import asyncio
        >>> async def make() -> list[int]:
        ...     return []
        >>> async def main() -> int:
        ...     async with AsyncObjectPool(make, max_size=2) as pool:
        ...         async with pool.acquire(timeout=5) as thing:
        ...             thing.append(1)
        ...         return pool.stats().acquired
        >>> asyncio.run(main())
        1
    """

    def __init__(
        self,
        factory: Callable[[], Awaitable[T]],
        *,
        reset: Callable[[T], object] | None = None,
        validate: Callable[[T], Awaitable[bool] | bool] | None = None,
        destroy: Callable[[T], object] | None = None,
        min_size: int = 0,
        max_size: int = 10,
        timeout: Duration = 30.0,
        idle_timeout: Duration = 600.0,
        max_lifetime: Duration = 3600.0,
        keepalive: Duration = 30.0,
        leak_threshold: Duration = 0.0,
        name: str = "objects",
        observer: Observer | None = None,
    ) -> None:
        check_functions(factory=factory, reset=reset, validate=validate, destroy=destroy)
        self._timeout = seconds(timeout, name="timeout")
        self._pool: ObjectPool[T] = ObjectPool(
            lambda: _settled(factory()),
            reset=_awaited(reset),
            validate=_awaited(validate),
            destroy=_awaited(destroy),
            min_size=min_size,
            max_size=max_size,
            timeout=timeout,
            idle_timeout=idle_timeout,
            max_lifetime=max_lifetime,
            keepalive=keepalive,
            leak_threshold=leak_threshold,
            name=name,
            observer=observer,
            runtime=Tasks(),
        )

    def acquire(self, timeout: Duration | None = None) -> AsyncLease[T]:
        """Borrow an object for an `async with` block; see `ObjectPool.acquire`."""
        return AsyncLease(self._pool, self._timeout if timeout is None else seconds(timeout, name="timeout"))

    async def warm_up(self, timeout: Duration | None = None) -> bool:
        """Make the minimum now and wait for it; see `ObjectPool.warm_up`."""
        return await greenlet_spawn(self._pool.warm_up, timeout)

    def stats(self) -> PoolStats:
        """Take a snapshot of the pool's numbers."""
        return self._pool.stats()

    async def resize(self, *, min_size: int, max_size: int) -> None:
        """Change the sizes; see `ObjectPool.resize`."""
        await greenlet_spawn(self._pool.resize, min_size=min_size, max_size=max_size)

    async def drain(self) -> None:
        """Replace every object; see `ObjectPool.drain`."""
        await greenlet_spawn(self._pool.drain)

    async def suspend(self) -> None:
        """Let borrowers wait until `resume()`."""
        await greenlet_spawn(self._pool.suspend)

    async def resume(self) -> None:
        """End `suspend()`."""
        await greenlet_spawn(self._pool.resume)

    async def close(self, timeout: Duration = 10.0) -> None:
        """Refuse new borrowers, wait for what is out, destroy everything; see `ObjectPool.close`."""
        await greenlet_spawn(self._pool.close, timeout)

    async def __aenter__(self) -> AsyncObjectPool[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncLease(Generic[T]):
    """One borrow, as an async context manager."""

    __slots__ = ("_entry", "_pool", "_timeout")

    def __init__(self, pool: ObjectPool[T], timeout: float) -> None:
        self._pool, self._timeout = pool, timeout
        self._entry: Entry[T] | None = None

    async def __aenter__(self) -> T:
        self._entry = await greenlet_spawn(self._pool.take, self._timeout, _SITE_DEPTH)
        return self._entry.thing

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entry, self._entry = self._entry, None
        if entry is not None:
            await greenlet_spawn(self._pool.give_back, entry)


class AsyncConnectionPool:
    """The pool of an AsyncEngine, with its slow methods as coroutines.

    Args:
        engine: An engine whose pool is a `ConnectionPool`.

    Raises:
        UsageError: Its pool is another one.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._pool()

    def stats(self) -> PoolStats:
        """Take a snapshot of the pool's numbers."""
        return self._pool().stats()

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Tell an observer what happens; see `ConnectionPool.observe`."""
        return self._pool().observe(observer)

    async def warm_up(self, timeout: Duration | None = None) -> bool:
        """Open the minimum now and wait for it; see `ConnectionPool.warm_up`."""
        return await greenlet_spawn(self._pool().warm_up, timeout)

    async def resize(self, *, min_pool_size: int, max_pool_size: int) -> None:
        """Change the sizes; see `ConnectionPool.resize`."""
        await greenlet_spawn(self._pool().resize, min_pool_size=min_pool_size, max_pool_size=max_pool_size)

    async def drain(self) -> None:
        """Replace every connection; see `ConnectionPool.drain`."""
        await greenlet_spawn(self._pool().drain)

    async def suspend(self) -> None:
        """Let borrowers wait until `resume()`."""
        await greenlet_spawn(self._pool().suspend)

    async def resume(self) -> None:
        """End `suspend()`."""
        await greenlet_spawn(self._pool().resume)

    async def close(self, timeout: Duration = 10.0) -> None:
        """Refuse new borrowers, wait for what is out, then break it off; see `ConnectionPool.close`."""
        await greenlet_spawn(self._pool().close, timeout)

    def _pool(self) -> ConnectionPool:
        pool = self._engine.sync_engine.pool
        if not isinstance(pool, ConnectionPool):
            raise UsageError(
                f"the engine's pool is a {type(pool).__name__}", hint="create_async_engine(url, poolclass=ConnectionPool)"
            )
        return pool


def _awaited(hook: Callable[[T], Any] | None) -> Callable[[T], Any] | None:
    return None if hook is None else lambda thing: _settled(hook(thing))


def _settled(given: Any) -> Any:
    return wait_for(given) if isawaitable(given) else given
