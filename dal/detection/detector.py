"""`detect`: watch any code for N+1 and its relatives, for a block, a test, a request or always."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from dal.detection import listeners
from dal.detection.report import Report
from dal.detection.scope import Scope, ignored
from dal.errors import UsageError

__all__ = ["Detect", "Watch", "detect"]

RULES = (
    "n-plus-one",
    "column-n-plus-one",
    "repeated-statement",
    "row-by-row-writes",
    "multiplied-rows",
    "unused-eager-load",
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
        if self._entered:
            raise UsageError("this detect() is or was in use already", hint="call detect() once for each block")
        self._entered = True
        listeners.open_scope(self.scope)
        return self.report

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        listeners.close(self.scope)

    async def __aenter__(self) -> Report:
        return self.__enter__()

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
    ) -> Watch:
        """Watch a block of code.

        It sees plain sessions, async ones and Core on any engine, follows tasks and threads, and costs nothing once it has
        ended.

        Args:
            threshold: From how many objects on a load for each of them is told, at least 2.
            allow: Patterns of what is known and accepted: `User.orders`, `User.*`, `app/admin.py:*`.
            rules: The rules that may speak; all by default.
            timeline: Keep the first so many statements in order.

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
        scope = Scope(threshold=threshold, timeline=timeline)
        return Watch(scope, Report(scope, allow=allow, rules=rules))

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
