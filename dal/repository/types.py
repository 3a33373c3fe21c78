"""The argument types of a repository: what may filter, order, name and lock.

`Filter` takes a SQL expression that is a condition: `User.age > 3`, `User.active`, `User.orders.any()`, `true()`.
A `str`, a Python `bool` and a column of another type are type errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from sqlalchemy import Select, SQLColumnExpression
from sqlalchemy.orm import QueryableAttribute

__all__ = ["Attribute", "Criterion", "Filter", "Lock", "Order", "Path", "Values"]

T = TypeVar("T")

Filter: TypeAlias = SQLColumnExpression[bool] | SQLColumnExpression[bool | None]
Criterion: TypeAlias = Filter | Select[T]
Attribute: TypeAlias = SQLColumnExpression[Any]
Order: TypeAlias = Attribute | Sequence[Attribute]
Values: TypeAlias = Mapping[Attribute, Any]
Path: TypeAlias = QueryableAttribute[Any] | tuple[QueryableAttribute[Any], ...]
Lock: TypeAlias = Literal["update", "share", "skip_locked", "nowait"]
