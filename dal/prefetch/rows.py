"""The values of a row that later parameters may come from, in whatever form the row is given."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from dal.cache.plain import is_plain

__all__ = ["values_of_first"]


def values_of_first(items: Sequence[Any]) -> dict[str, Hashable]:
    """Return the plain values of the first row by name; none where there is no row."""
    if not items or items[0] is None:
        return {}
    return {name: value for name, value in _named(items[0]).items() if is_plain(value)}


def _named(row: Any) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    if hasattr(row, "_mapping"):
        found: Mapping[str, Any] = row._mapping
        return found
    slots = getattr(type(row), "__slots__", ())
    if slots:
        return {name: getattr(row, name) for name in slots}
    return {name: value for name, value in vars(row).items() if not name.startswith("_")}
