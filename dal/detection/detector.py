"""`detect`: watch any code for N+1 and its relatives, for a block, a test, a request or always."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Literal

from dal.detection import listeners
from dal.detection.frames import APPLICATION, kind_of
from dal.detection.installed import Installed, Thresholds, install, uninstall
from dal.detection.report import Report
from dal.detection.scope import Scope, ignored
from dal.durations import Duration, seconds
from dal.errors import UsageError

if TYPE_CHECKING:
    from dal.events import Observer

__all__ = ["Detect", "Watch", "detect"]

RULES = (
    "n-plus-one",
    "column-n-plus-one",
    "repeated-statement",
    "row-by-row-writes",
    "multiplied-rows",
    "unused-eager-load",
    "unused-columns",
)


class Watch:
    """One observed block: `with` or `async with`; gives the report.

    Use `detect()` to make one.
    """

    def __init__(self, scope: Scope, report: Report) -> None:
        self.scope = scope
        self.report = report
        self._entered = False

    def __enter__(self) -> Report:
        return self._enter(sys._getframe(1))

    def _enter(self, opener: FrameType) -> Report:
        if self._entered:
            raise UsageError("this detect() is or was in use already", hint="call detect() once for each block")
        self._entered = True
        # A walk looks for the end among the application's frames only.
        self.scope.end = id(opener) if kind_of(opener) == APPLICATION else 0
        listeners.open_scope(self.scope)
        return self.report

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        listeners.close(self.scope)

    async def __aenter__(self) -> Report:
        return self._enter(sys._getframe(1))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


class Detect:
    """The face of detection; `dal.detect` is the one there is."""

    def __call__(
        self,
        *,
        threshold: int = 2,
        allow: Sequence[str] = (),
        rules: Sequence[str] | None = None,
        timeline: int = 0,
        wide: bool = False,
    ) -> Watch:
        """Watch a block of code.

        It sees plain sessions, async ones and Core on any engine, follows tasks and threads, and costs nothing once it has
        ended.

        Args:
            threshold: From how many objects on a load for each of them is told, at least 2.
            allow: Patterns of what is known and accepted: `User.orders`, `User.*`, `app/admin.py:*`.
            rules: The rules that may speak; all by default.
            timeline: Keep the first so many statements in order.
            wide: Tell, too, which columns of wide rows (12 and more) are fetched and never read.

        Returns:
            A context manager, sync and async, that gives the report.

        Raises:
            UsageError: The threshold is below 2 or a rule does not exist.

        Example:
            >>> from dal.detection import detect
            >>> with detect() as report:
            ...     pass
            >>> report.raise_if_any()
        """
        if threshold < 2:
            raise UsageError(f"threshold={threshold}: one load is no repetition", hint="use 2 or more")
        for rule in rules or ():
            if rule not in RULES:
                raise UsageError(f"there is no rule {rule!r}", hint="the rules are " + ", ".join(RULES))
        scope = Scope(threshold=threshold, timeline=timeline, wide=wide)
        return Watch(scope, Report(scope, allow=allow, rules=rules))

    def install(
        self,
        *,
        observer: Observer | None = None,
        sample: float = 1.0,
        min_queries: int = 5,
        min_seconds: Duration = "50ms",
        allow: Sequence[str] = (),
        action: Literal["report", "batch"] = "report",
    ) -> Installed:
        """Watch every session of this process from now on, or a sample of them.

        Each transaction of a session is judged when it ends; a request that a middleware of dal watches is judged as a whole
        by it. Transactions that are not in the sample cost about a microsecond, their statements nothing.

        Args:
            observer: Called with one `Detected` for each transaction that has findings; logs them by default.
            sample: The share of transactions to watch, 0 to 1.
            min_queries: Findings of fewer statements are left out.
            min_seconds: Findings that cost less time in the database are left out.
            allow: Patterns of what is known and accepted: `User.orders`, `User.*`, `app/admin.py:*`.
            action: `"batch"` heals, too: a query whose objects were seen loading one by one gets `batched()` from then on.

        Returns:
            A handle; `uninstall()` ends it.

        Raises:
            UsageError: It is installed already, or the sample is no share.

        Example:
            >>> from dal.detection import detect
            >>> with detect.install(observer=print, sample=0.01):
            ...     pass
        """
        return install(
            Thresholds(min_queries=min_queries, min_seconds=seconds(min_seconds, name="min_seconds"), allow=tuple(allow)),
            observer=observer,
            sample=sample,
            action=action,
        )

    def uninstall(self) -> None:
        """End what `install` began; does nothing when nothing is installed."""
        uninstall()

    @contextmanager
    def ignore(self) -> Iterator[None]:
        """Say nothing about the statements of a block; they are still counted.

        Example:
            >>> from dal.detection import detect
            >>> with detect.ignore():
            ...     pass
        """
        token = ignored.set(True)
        try:
            yield
        finally:
            ignored.reset(token)


detect = Detect()
"""Watch code for N+1: `with detect() as report: ...`."""
