"""The names of SQLAlchemy 2.1 that are not promised, in one place, each with what happens where it is missing."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar

from sqlalchemy import Result, Select

__all__ = ["cache_key", "locks", "options_of", "repeats", "without_options"]

T = TypeVar("T")


def locks(statement: Select[Any]) -> bool:
    """Tell whether a SELECT locks the rows it reads."""
    return getattr(statement, "_for_update_arg", None) is not None


def options_of(statement: Select[Any]) -> tuple[Any, ...]:
    """Return the ORM options of a SELECT."""
    return tuple(getattr(statement, "_with_options", ()))


def without_options(statement: Select[T]) -> tuple[Select[T], tuple[Any, ...]]:
    """Return a SELECT without its ORM options, and these: not all of them can be traversed."""
    options = options_of(statement)
    if not options:
        return statement, ()
    bare: Select[T] = statement._clone()
    bare._with_options = ()
    return bare, options


def repeats(result: Result[Any]) -> bool:
    """Tell whether a joined collection made rows repeat their entity."""
    return getattr(result, "_unique_filter_state", None) is not None


def cache_key(statement: Select[Any]) -> Hashable | None:
    """Return what two statements share that are the same with all options and values; None where that cannot be told."""
    make = getattr(statement, "_generate_cache_key", None)
    found = make() if make is not None else None
    if found is None:
        return None
    key = (found.key, tuple(bind.effective_value for bind in found.bindparams))
    try:
        hash(key)
    except TypeError:
        return None
    return key
