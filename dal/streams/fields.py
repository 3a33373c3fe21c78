"""How an operator finds a value in an item: `Sale.shop`, `"shop"`, or a function.

Items are whatever `map()` returned: mapped objects, dataclasses, msgspec structs, named tuples, dicts, or changes as they
came, of which a name means the new value, or the old one of a delete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import QueryableAttribute

from dal.errors import UsageError
from dal.streams.change import Change

__all__ = ["Field", "getter", "named_getters"]

Field = Any
"""An attribute (`Sale.shop`), its name, or a function of the item."""


def getter(field: Field) -> Callable[[Any], Any]:
    """Make the function that takes a field's value out of an item.

    Args:
        field: The field.

    Raises:
        UsageError: It is none of the accepted forms.

    Example:
        >>> getter("shop")({"shop": "Oslo"})
        'Oslo'
    """
    name = _name(field)
    if isinstance(field, (str, QueryableAttribute, ColumnElement)) and name is not None:
        return _by_name(name)
    if hasattr(type(field), "__get__") and not callable(field):
        descriptor: Any = field
        return lambda item: descriptor.__get__(item, type(item))
    if callable(field):
        called: Callable[[Any], Any] = field
        return called
    raise UsageError(f"{field!r} names no field of an item", hint="write Sale.shop, its name 'shop', or a function of the item")


def named_getters(fields: Field) -> dict[str, Callable[[Any], Any]]:
    """Make the functions for a field, a list of fields, or fields by the name their value gets in a result.

    Args:
        fields: The field or fields; None for none.

    Raises:
        UsageError: A field is none, or has no name of its own.

    Example:
        >>> {name: get({"shop": "Oslo"}) for name, get in named_getters({"town": "shop"}).items()}
        {'town': 'Oslo'}
    """
    if fields is None:
        return {}
    if isinstance(fields, Mapping):
        return {str(name): getter(field) for name, field in fields.items()}
    several = list(fields) if isinstance(fields, (list, tuple)) else [fields]
    found = {}
    for field in several:
        name = _name(field)
        if name is None or name == "<lambda>":
            raise UsageError(f"{field!r} has no name for the result", hint="by={'shop': lambda sale: ...}")
        found[name] = getter(field)
    return found


def _name(field: Field) -> str | None:
    if isinstance(field, str):
        return field if field.isidentifier() else None
    name = getattr(field, "key", None) or getattr(field, "__name__", None)
    return name if isinstance(name, str) else None


def _by_name(name: str) -> Callable[[Any], Any]:
    def get(item: Any) -> Any:
        if isinstance(item, Change):
            values = item.new if item.new is not None else item.old
            return None if values is None else values[name]
        return item[name] if isinstance(item, Mapping) else getattr(item, name)

    return get
