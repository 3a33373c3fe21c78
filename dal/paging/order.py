"""An ORDER BY as a tuple of keys: expression, direction, place of NULLs.

Where NULLs go when nobody says so differs: last in ascending order on PostgreSQL, first on SQLite and MariaDB. A key
knows the place it has on the database at hand. The order of a backward page is that of the keys reversed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import JSON, ClauseElement, ClauseList, ColumnElement, Dialect, Label, Select, UnaryExpression
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import ColumnClause, Grouping, TextClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import TypeEngine

from dal.errors import UsageError
from dal.paging.raw import cast_of, comparable, plain_type

__all__ = ["Key", "keys_of", "listed", "naturally_first", "ordering"]

_VOLATILE = frozenset({"random", "rand", "newid", "uuid", "gen_random_uuid", "uuid_generate_v4", "clock_timestamp"})


@dataclass(frozen=True, eq=False)
class Key:
    """One part of an order.

    Args:
        expression: What is ordered by, without direction.
        descending: Its direction.
        nulls_first: Whether NULLs come before everything else.
        explicit: Whether the place of NULLs was written, and is written again.
        nullable: Whether there may be NULLs.
        cast_to: What values are cast to when they are compared with it.
    """

    expression: ColumnElement[Any]
    descending: bool
    nulls_first: bool
    explicit: bool
    nullable: bool = True
    cast_to: TypeEngine[Any] | None = None

    def reversed(self) -> Key:
        """Return the key of the opposite order."""
        return replace(self, descending=not self.descending, nulls_first=not self.nulls_first)

    def describe(self) -> str:
        """Return its direction and place of NULLs, as they are told apart in fingerprints."""
        return f"{'desc' if self.descending else 'asc'} {'first' if self.nulls_first else 'last'}"


def keys_of(written: Iterable[Any], statement: Select[Any], dialect: Dialect) -> tuple[Key, ...]:
    """Turn what was written as an order into keys; the same expression again adds nothing and is left out.

    Raises:
        UsageError: A part is no column expression, or no row can be compared with it.
    """
    found: list[Key] = []
    for part in written:
        for clause in _clauses(part, statement):
            key = _key(clause, statement, dialect)
            if not any(key.expression is each.expression or key.expression.compare(each.expression) for each in found):
                found.append(key)
    return tuple(found)


def ordering(keys: Sequence[Key], expressions: Sequence[ColumnElement[Any]], dialect: Dialect) -> Iterator[Any]:
    """Yield the ORDER BY of keys over expressions that stand for theirs."""
    for key, expression in zip(keys, expressions, strict=True):
        clause: Any = expression.desc() if key.descending else expression.asc()
        if dialect.name in {"mysql", "mariadb"}:
            if key.nullable and key.nulls_first == key.descending:
                is_null = expression.is_(None)
                yield is_null.desc() if key.nulls_first else is_null.asc()
            yield clause
        elif key.explicit:
            yield clause.nulls_first() if key.nulls_first else clause.nulls_last()
        else:
            yield clause


def naturally_first(descending: bool, dialect: Dialect) -> bool:
    """Tell where a database puts NULLs when nobody says so."""
    return descending if dialect.name in {"postgresql", "oracle"} else not descending


def _clauses(part: Any, statement: Select[Any]) -> Iterator[ColumnElement[Any]]:
    if isinstance(part, str):
        raise UsageError(f"an order is made of column expressions, not of the text {part!r}", hint="write order_by=[User.name]")
    if not isinstance(part, ClauseElement) and isinstance(getattr(part, "property", None), RelationshipProperty):
        raise UsageError(
            f"{part} is a relationship, and has no order", hint="join it and order by one of its columns, or by its key"
        )
    clause = part
    while not isinstance(clause, ClauseElement):
        method = getattr(clause, "__clause_element__", None)
        if method is None or isinstance(part, type):
            shown = f"the class {part.__name__}" if isinstance(part, type) else f"{part!r} ({type(part).__name__})"
            raise UsageError(f"an order is made of column expressions, not of {shown}", hint="write order_by=[User.name]")
        clause = method()
    if isinstance(clause, TextClause):
        raise UsageError(
            f"the order text({clause.text!r}) cannot be compared with a row", hint="write order_by=[User.name.desc()]"
        )
    if isinstance(clause, ClauseList) and not isinstance(clause, ColumnElement):
        for each in clause.clauses:
            yield from _clauses(each, statement)
        return
    if isinstance(clause, ColumnElement):
        yield clause
        return
    raise UsageError(f"an order is made of column expressions, not of a {type(clause).__name__}", hint="write [User.name]")


def _key(clause: ColumnElement[Any], statement: Select[Any], dialect: Dialect) -> Key:
    descending, nulls_first = False, None
    element: Any = clause
    while True:
        if isinstance(element, UnaryExpression) and element.modifier in _MODIFIERS:
            if element.modifier in {operators.desc_op, operators.asc_op}:
                descending = element.modifier is operators.desc_op
            elif nulls_first is None:
                nulls_first = element.modifier is operators.nulls_first_op
            element = element.element
        elif isinstance(element, (Grouping, Label)) or type(element).__name__ == "_label_reference":
            element = element.element
        elif type(element).__name__ == "_textual_label_reference":
            element = _named(element.element, statement)
        else:
            break
    _refuse_incomparable(element, dialect)
    return Key(
        expression=comparable(element, dialect),
        descending=descending,
        nulls_first=naturally_first(descending, dialect) if nulls_first is None else nulls_first,
        explicit=nulls_first is not None,
        cast_to=cast_of(element, dialect),
    )


_MODIFIERS = frozenset({operators.desc_op, operators.asc_op, operators.nulls_first_op, operators.nulls_last_op})


def _named(name: Any, statement: Select[Any]) -> ColumnElement[Any]:
    found: ColumnElement[Any] | None = statement.selected_columns.get(str(name))
    if found is None:
        raise UsageError(
            f"the order {name!r} is a text that names no column of the statement",
            hint="write order_by(User.name), not its name",
        )
    return found


def _refuse_incomparable(element: Any, dialect: Dialect) -> None:
    if isinstance(element, ColumnClause) and element.is_literal and element.name.strip().isdigit():
        raise UsageError(
            f"the order {element.name} names a column by its place, which no row can be compared with",
            hint="name the column: order_by=[User.name]",
        )
    if isinstance(plain_type(element.type, dialect), JSON):
        raise UsageError(
            f"{element} is JSON, which has no order to compare rows by",
            hint='order by a part of it as text: User.data["name"].as_string()',
        )
    for node in iterate(element):
        if isinstance(node, FunctionElement) and str(getattr(node, "name", "")).lower() in _VOLATILE:
            raise UsageError(
                f"the order {node} differs each time it is asked, so no page follows another",
                hint="order by a column; for a random order that stays, by a hash of the key: func.md5(...)",
            )


def listed(order_by: Any) -> Sequence[Any]:
    """Return an order as a list of its parts."""
    if order_by is None:
        return ()
    return order_by if isinstance(order_by, (list, tuple)) else (order_by,)
