"""Plans that were made before: the same SELECT with the same values, as an application asks for again and again.

What SQLAlchemy itself takes for the same statement is the same here: its cache key, and the values beside it. A statement
without a cache key, or with values that cannot be compared, is planned each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import Dialect, Select
from sqlalchemy.exc import SQLAlchemyError

from dal.paging import _internals

__all__ = ["Memory", "Recall", "recall_of"]

T = TypeVar("T")

_LONGEST = 200


class Memory(Generic[T]):
    """The last things used, by key.

    Args:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        """Return what is kept under a key."""
        found = self._kept.get(key)
        if found is not None:
            try:
                self._kept.move_to_end(key)
            except KeyError:
                # Another thread let go of it meanwhile.
                return found
        return found

    def put(self, key: Hashable, value: T) -> None:
        """Keep something, and let go of what was used the longest time ago."""
        self._kept[key] = value
        while len(self._kept) > self._most:
            try:
                self._kept.popitem(last=False)
            except KeyError:
                return


@dataclass(frozen=True)
class Recall:
    """What two statements have in common that are the same.

    Args:
        shape: What is the same for statements that differ in values only.
        compared: The values, as they are compared.
        values: The values.
    """

    shape: Hashable
    compared: Hashable
    values: Sequence[Any] = field(compare=False)


def recall_of(statement: Select[Any], order_by: Sequence[Any], dialect: Dialect) -> Recall | None:
    """Return what is the same for the same SELECT in the same order, and its values; None where that cannot be told."""
    try:
        found = _internals.cache_key(statement.order_by(*order_by) if order_by else statement)
        if found is None:
            return None
        shape, values = found
        options = tuple(sorted(statement.get_execution_options().items()))
        compared = tuple([_comparable(value) for value in values])
        hash((options, compared))
    except (SQLAlchemyError, TypeError):
        return None
    return Recall((shape, options, dialect), compared, values)


def _comparable(value: Any) -> Any:
    """Return a value with its type: 1 and True are equal, and not the same."""
    if isinstance(value, (list, tuple)):
        if len(value) > _LONGEST:
            raise TypeError("a long list is not worth its memory")
        return type(value), tuple([_comparable(each) for each in value])
    return type(value), value
