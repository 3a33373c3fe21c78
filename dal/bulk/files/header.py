"""Header: which field of a file is which attribute.

The names in a file's first line are compared with the names of attributes and columns, without regard to case, spaces and
hyphens. What the mapping does not know has to be named, or left out by name: a file is never loaded by half without a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column

from dal.bulk.target import Attribute, Target
from dal.errors import UsageError

__all__ = ["Columns", "Header", "header_of", "known_names", "plain", "refuse_missing"]

Columns = Sequence[Attribute | None] | Mapping[str, Attribute | None]
"""Attributes in the order of the fields, or by the name in the file; None leaves a field out."""


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a file.

    Args:
        names: The attribute of each field, None where it is left out.
        given: Whether the file's first record is the header.
    """

    names: tuple[str | None, ...]
    given: bool

    @property
    def attributes(self) -> list[str]:
        """The attributes that are loaded."""
        return [name for name in self.names if name is not None]


def known_names(target: Target, columns: Columns | None = None) -> dict[str, str | None]:
    """Return what a file may call an attribute.

    Args:
        target: Where the rows go.
        columns: What the caller said.
    """
    found: dict[str, str | None] = {plain(column.name): name for name, column in target.columns.items()}
    found.update({plain(name): name for name in target.columns})
    if isinstance(columns, Mapping):
        for called, attribute in columns.items():
            found[plain(called)] = None if attribute is None else target.named(attribute, "columns")
    return found


def header_of(
    first: Sequence[str | None], target: Target, columns: Columns | None, *, header: bool | None, name: str
) -> Header:
    """Tell which field is which attribute.

    Args:
        first: The first record.
        target: Where the rows go.
        columns: What the caller said.
        header: Whether the first record names the fields; None: if it does.
        name: The file's name.

    Raises:
        UsageError: A field has no attribute, an attribute two fields, or there is no header and nothing was said.
    """
    known = known_names(target, columns)
    named = [text is not None and plain(text) in known for text in first]
    if isinstance(columns, Sequence) and not isinstance(columns, str):
        names = tuple(None if each is None else target.named(each, "columns") for each in columns)
        if len(names) != len(first):
            raise UsageError(
                f"columns names {len(names)} fields, and {name} has {len(first)}", hint="name each, or None for one"
            )
        return _checked(Header(names, all(named) if header is None else header))
    if header is False or not any(named):
        shown = ", ".join(str(text) for text in first[:5])
        raise UsageError(
            f"the first line of {name} names no attribute of {target.name}: {shown}",
            hint=f"name the fields in their order: columns=[{target.example}, ...]",
        )
    unknown = [text for text, one in zip(first, named, strict=True) if not one]
    if unknown:
        field = unknown[0] or ""
        raise UsageError(
            f"{name} has the field {field!r}, and {target.name} no such attribute",
            hint=f"columns={{{field!r}: {target.example}}} says which it is, columns={{{field!r}: None}} leaves it out",
        )
    return _checked(Header(tuple(known[plain(text or "")] for text in first), True))


def _checked(header: Header) -> Header:
    attributes = header.attributes
    twice = next((name for name in attributes if attributes.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two fields are {twice}", hint="leave one out: columns={'its name in the file': None}")
    if not attributes:
        raise UsageError("no field is loaded", hint="name one in columns=")
    return header


def refuse_missing(target: Target, names: Sequence[str], source: str) -> None:
    """Refuse a file without a field that a row cannot be without.

    Args:
        target: Where the rows go.
        names: The attributes that the file has.
        source: The file's name.

    Raises:
        UsageError: There is such a field.
    """
    given = {*names, *target.constants}
    missing = [name for name, column in target.columns.items() if name not in given and _needed(column)]
    if missing:
        raise UsageError(
            f"{source} has no field for {target.name}.{missing[0]}, which may not be NULL and has no default",
            hint="add the field, or give the column a default",
        )


def _needed(column: Column[Any]) -> bool:
    if column.nullable or column.default is not None or column.server_default is not None:
        return False
    if column.computed is not None or column.identity is not None or column.foreign_keys:
        return bool(column.foreign_keys) and not column.primary_key and column.computed is None
    table: Any = column.table
    return column is not table.autoincrement_column


def plain(text: str) -> str:
    """Return a field's name as it is compared."""
    return re.sub(r"[\s\-]+", "_", text.strip().lstrip("\ufeff")).lower()
