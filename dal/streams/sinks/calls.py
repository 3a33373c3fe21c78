"""Functions as sinks: given the items, many at a time, or one call for each transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dal.errors import UsageError
from dal.streams.change import Change
from dal.streams.sinks.base import Setting

__all__ = ["Calls", "Invalidations"]


class Calls:
    """Calls a function with a list of items; what it raises stops the flow, and the items come again after a restart.

    Args:
        function: The function; through the asyncio door a coroutine function too.
    """

    def __init__(self, function: Callable[[list[Any]], object]) -> None:
        self._function = function
        self._settle: Callable[[Any], Any] = lambda result: result

    def open(self, setting: Setting) -> None:
        """Learn how to await."""
        self._settle = setting.settle

    def write(self, items: Sequence[Any]) -> None:
        """Call the function."""
        self._settle(self._function(list(items)))

    def commit(self) -> None:
        """Do nothing: the function has returned."""

    def close(self) -> None:
        """Do nothing."""


class Invalidations:
    """Calls a function once for each transaction with the tables it changed and its id: what a cache needs to forget.

    Args:
        function: Called with the names of the tables, with their schema where the mapping names one, and the transaction id.

    Example:
        >>> told = []
        >>> Invalidations(lambda tables, xid: told.append((tables, xid))).write([])
        >>> told
        []
    """

    def __init__(self, function: Callable[[frozenset[str], int], object]) -> None:
        self._function = function
        self._settle: Callable[[Any], Any] = lambda result: result

    def open(self, setting: Setting) -> None:
        """Learn how to await."""
        self._settle = setting.settle

    def write(self, items: Sequence[Any]) -> None:
        """Call the function for each transaction.

        Raises:
            UsageError: An item is not a change.
        """
        tables: dict[int, set[str]] = {}
        for item in items:
            if not isinstance(item, Change):
                raise UsageError("Invalidations takes changes as they came", hint="leave out map() and window() before it")
            tables.setdefault(item.xid, set()).add(item.table)
        for xid, names in tables.items():
            self._settle(self._function(frozenset(names), xid))

    def commit(self) -> None:
        """Do nothing: the function has returned."""

    def close(self) -> None:
        """Do nothing."""
