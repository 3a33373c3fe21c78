"""`ObjectPool`: a few expensive things kept ready and lent out one at a time.

Use it for what is slow to make and can be used again: clients, browsers, model runtimes, test databases. For database
connections use `ConnectionPool`, which stands on the same core. For coroutines use `AsyncObjectPool`.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from dal.durations import Duration, seconds
from dal.errors import ConfigError
from dal.pool import control
from dal.pool.core import Core
from dal.pool.entry import Entry, Verdict
from dal.pool.hooks import Hooks, Lifetimes
from dal.pool.runtime import Runtime, Threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from dal.events import Observer
    from dal.pool.stats import PoolStats

__all__ = ["Lease", "ObjectPool"]

T = TypeVar("T")

_log = logging.getLogger("dal.pool")
_SITE_DEPTH = 2


class ObjectPool(Generic[T]):
    """Keep objects ready and lend them out: the hottest first, to the longest waiting first.

    Nothing is made before the first `acquire()` or `warm_up()`. Objects are made in the background only; a borrower waits for
    whichever comes first, a new object or one that is given back.

    Args:
        factory: Makes an object. What it raises is raised by the borrowers that wait.
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
        runtime: What the pool waits and works with; threads, unless `AsyncObjectPool` gives the tasks of a loop.

    Raises:
        ConfigError: A size or duration is not accepted.

    Example:
        >>> pool = ObjectPool(factory=list, reset=list.clear, max_size=2)
        >>> with pool.acquire() as thing:
        ...     thing.append(1)
        >>> with pool.acquire() as again:
        ...     again is thing, again
        (True, [])
        >>> pool.close()
    """

    def __init__(
        self,
        factory: Callable[[], T],
        *,
        reset: Callable[[T], object] | None = None,
        validate: Callable[[T], bool] | None = None,
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
        runtime: Runtime | None = None,
    ) -> None:
        check_sizes(min_size, max_size)
        check_functions(factory=factory, reset=reset, validate=validate, destroy=destroy)
        self._timeout = seconds(timeout, name="timeout")
        self._reset = reset
        self._core = Core(
            name,
            _hooks(factory, validate, destroy),
            Lifetimes(
                max_lifetime=seconds(max_lifetime, name="max_lifetime"),
                idle_timeout=seconds(idle_timeout, name="idle_timeout"),
                keepalive=seconds(keepalive, name="keepalive"),
                leak_threshold=seconds(leak_threshold, name="leak_threshold"),
            ),
            min_size=min_size,
            max_size=max_size,
            runtime=runtime or Threads(),
            observers=[] if observer is None else [observer],
        )

    def acquire(self, timeout: Duration | None = None) -> Lease[T]:
        """Borrow an object for a `with` block.

        Args:
            timeout: How long to wait, making and validating included; the pool's own timeout by default.

        Returns:
            A context manager that gives the object and takes it back.

        Raises:
            PoolTimeout: None came free in time; raised when the block is entered.
            UsageError: The pool is closed.
        """
        return Lease(self, self._timeout if timeout is None else seconds(timeout, name="timeout"))

    def warm_up(self, timeout: Duration | None = None) -> bool:
        """Make the minimum now and wait for it.

        Returns:
            Whether the minimum was ready in time.

        Raises:
            Exception: What the factory raised.
        """
        return control.warm_up(self._core, self._timeout if timeout is None else seconds(timeout, name="timeout"))

    def stats(self) -> PoolStats:
        """Take a snapshot of the pool's numbers."""
        return self._core.stats()

    def resize(self, *, min_size: int, max_size: int) -> None:
        """Change the sizes; what is over the maximum goes as soon as it is not in use."""
        check_sizes(min_size, max_size)
        control.resize(self._core, min_size, max_size)

    def drain(self) -> None:
        """Replace every object: the idle ones now, the others when they come back."""
        self._core.retire()

    def suspend(self) -> None:
        """Let borrowers wait, within their timeouts, until `resume()`."""
        control.suspend(self._core, True)

    def resume(self) -> None:
        """End `suspend()`."""
        control.suspend(self._core, False)

    def close(self, timeout: Duration = 10.0) -> None:
        """Refuse new borrowers, wait for what is out, destroy everything.

        Args:
            timeout: How long to wait; what is still out then is destroyed when it comes back.
        """
        for line in control.close(self._core, seconds(timeout, name="timeout")):
            _log.warning("closed the pool %r while an object was out: %s", self._core.name, line)

    def __enter__(self) -> ObjectPool[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def take(self, timeout: float, depth: int = _SITE_DEPTH) -> Entry[T]:
        """Borrow without a block; for code that builds on the pool."""
        return self._core.take(timeout, depth)

    def give_back(self, entry: Entry[T]) -> None:
        """Reset and return what `take` lent."""
        if self._reset is not None:
            try:
                self._reset(entry.thing)
            except Exception:
                _log.warning("the pool %r destroys an object that could not be reset", self._core.name, exc_info=True)
                self._core.drop(entry)
                return
            except BaseException:
                self._core.drop(entry)
                raise
        self._core.give_back(entry)

    def drop(self, entry: Entry[T]) -> None:
        """Destroy what `take` lent: it is of no more use."""
        self._core.drop(entry)


class Lease(Generic[T]):
    """One borrow, as a context manager."""

    __slots__ = ("_entry", "_pool", "_timeout")

    def __init__(self, pool: ObjectPool[T], timeout: float) -> None:
        self._pool, self._timeout = pool, timeout
        self._entry: Entry[T] | None = None

    def __enter__(self) -> T:
        self._entry = self._pool.take(self._timeout, _SITE_DEPTH)
        return self._entry.thing

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        entry, self._entry = self._entry, None
        if entry is not None:
            self._pool.give_back(entry)


def check_sizes(min_size: int, max_size: int) -> None:
    """Refuse sizes that no pool can have."""
    for key, value, least in (("min_size", min_size, 0), ("max_size", max_size, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{key}: {value!r} is not accepted", hint=f"write a whole number, {least} or more")
    if min_size > max_size:
        raise ConfigError(f"min_size: {min_size} is more than max_size: {max_size}", hint="raise max_size or lower min_size")


def check_functions(factory: object, **others: object) -> None:
    """Refuse what is given for a function and cannot be called."""
    given = {"factory": factory, **{name: other for name, other in others.items() if other is not None}}
    for name, function in given.items():
        if not callable(function):
            raise ConfigError(f"{name}: {function!r} is not accepted", hint=f"give a function, such as {name}=make")


def _hooks(factory: Callable[[], T], validate: Callable[[T], bool] | None, destroy: Callable[[T], object] | None) -> Hooks[T]:
    def check(entry: Entry[T], now: float, deadline: float) -> Verdict:
        return prove(entry)

    def prove(entry: Entry[T]) -> Verdict:
        try:
            good = validate is None or validate(entry.thing)
        except Exception as error:
            _log.warning("validating %r failed; it is destroyed", entry.thing, exc_info=True)
            good, entry.complaint = False, repr(error)
        return Verdict.ALIVE if good else Verdict.DEAD

    def end(thing: T) -> None:
        if destroy is not None:
            try:
                destroy(thing)
            except Exception:
                _log.warning("destroying %r failed", thing, exc_info=True)

    return Hooks(
        make=factory,
        destroy=end,
        bypass=0.0,
        check=check,
        prove=prove,
        alive=_yes,
        prepare=_nothing,
        transient=_no,
        failure=_same,
        abort=_nothing,
        orphan=_nothing,
    )


def _yes(_: object) -> bool:
    return True


def _no(_: object) -> bool:
    return False


def _nothing(_: object) -> None:
    return None


def _same(error: BaseException) -> BaseException:
    return error
