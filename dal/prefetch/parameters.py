"""The parameters of a pager's statement: `bindparam("shop")` in it, `values={"shop": 7}` at each call."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Select
from sqlalchemy.sql.visitors import cloned_traverse, iterate

from dal.errors import UsageError
from dal.paging.values import packed
from dal.prefetch import _internals

__all__ = ["Arguments", "arguments_of", "digest", "names_in", "with_values"]

T = TypeVar("T")

Arguments = tuple[tuple[str, Hashable], ...]


def names_in(statement: Select[Any]) -> frozenset[str]:
    """Return the parameters of a statement that a call has to give."""
    return frozenset(each.key for each in iterate(statement) if isinstance(each, BindParameter) and each.required)


def arguments_of(values: Mapping[str, Any] | None, names: frozenset[str]) -> Arguments:
    """Check the values of a call.

    Args:
        values: By name.
        names: Those that the statement has.

    Returns:
        Names and values, in the order of the names.

    Raises:
        UsageError: One is missing, unknown, or of a type that pages cannot be kept by.
    """
    if not values and not names:
        return ()
    given = dict(values or {})
    if given.keys() != names:
        wanted = ", ".join(f'"{name}": ...' for name in sorted(names))
        told = ", ".join(sorted(given)) or "none"
        raise UsageError(
            f"values: given are {told}, and the statement has {', '.join(sorted(names)) or 'no parameters'}",
            hint=f"write values={{{wanted}}}" if names else "leave values out",
        )
    for name, value in given.items():
        try:
            hash(value)
            packed(value)
        except TypeError as error:
            raise UsageError(
                f"values: {name} is a {type(value).__name__}, which pages cannot be kept by: {error}",
                hint="give plain values: numbers, texts, dates, tuples of them",
            ) from error
    return tuple(sorted(given.items(), key=lambda each: each[0]))


def with_values(statement: Select[T], values: Mapping[str, Any]) -> Select[T]:
    """Return a statement with values for its parameters in it.

    `Select.params()` keeps them beside it, where they get lost when more is given at execution.
    """

    def give(parameter: BindParameter[Any]) -> None:
        if parameter.key in values:
            parameter.value = values[parameter.key]
            parameter.required = False

    bare, options = _internals.without_options(statement)
    found: Select[T] = cloned_traverse(bare, {"maintain_key": True, "detect_subquery_cols": True}, {"bindparam": give})
    return found.options(*options)


def digest(arguments: Arguments, *more: Any) -> str:
    """Return values as a text that is the same for the same values in every process."""
    if not arguments and not more:
        return "[]"
    return json.dumps([[name, packed(value)] for name, value in arguments] + [packed(each) for each in more])
