"""What a cursor is bound to: the statement, the values of its filters and its whole order, as 12 bytes.

It is the same in every process and after a restart, as long as the code writes the same query. A filter whose value
changes from call to call, such as `datetime.now()`, makes another query of it each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from dal.paging import _internals
from dal.paging.values import encoded

if TYPE_CHECKING:
    from dal.paging.plan import PagePlan

__all__ = ["fingerprint"]

SIZE = 12


def fingerprint(planned: PagePlan[Any]) -> bytes:
    """Return what tells a query apart."""
    text, values = _compiled(planned)
    order = " ".join(key.describe() for key in planned.keys)
    return hashlib.sha256("\0".join((text, order, *(_told(value) for value in values))).encode()).digest()[:SIZE]


def _compiled(planned: PagePlan[Any]) -> tuple[str, list[Any]]:
    inner = _internals.without_loading(planned.select.order_by(None)) if not planned.wrapped else planned.select
    statement = select(inner.add_columns(*planned.hidden).subquery())
    compiled = statement.compile(dialect=planned.dialect)
    params: Mapping[str, Any] = compiled.params
    names = compiled.positiontup or list(params)
    return str(compiled), [params[name] for name in names]


def _told(value: Any) -> str:
    try:
        return encoded(value)
    except TypeError:
        return f"{type(value).__module__}.{type(value).__qualname__} {value!r}"
