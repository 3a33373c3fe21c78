"""What a cursor is bound to: the statement, the values of its filters and its whole order, as 12 bytes.

It is the same in every process and after a restart, as long as the code writes the same query. A filter whose value
changes from call to call, such as `datetime.now()`, makes another query of it each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from dal.paging import _internals
from dal.paging.memory import Memory, Recall
from dal.paging.values import encoded

if TYPE_CHECKING:
    from dal.paging.plan import PagePlan

__all__ = ["fingerprint"]

SIZE = 12


_texts: Memory[bytes] = Memory(512)


def fingerprint(planned: PagePlan[Any], recall: Recall | None) -> bytes:
    """Return what tells a query apart.

    Args:
        planned: The query.
        recall: Its shape and values, where they are known: the text of a shape is compiled once.
    """
    if recall is None:
        text, values = _compiled(planned)
    else:
        known = _texts.get(recall.shape)
        if known is None:
            known, _ = _compiled(planned)
            _texts.put(recall.shape, known)
        text, values = known, recall.values
    return hashlib.sha256(b"\0".join((text, *(_told(value).encode() for value in values)))).digest()[:SIZE]


def _compiled(planned: PagePlan[Any]) -> tuple[bytes, Sequence[Any]]:
    """Return the text of a query and its order, hashed, and its values."""
    inner = planned.select if planned.wrapped else planned.select.order_by(None)
    statement = select(_internals.without_loading(inner).add_columns(*planned.hidden).subquery())
    compiled = statement.compile(dialect=planned.dialect)
    order = " ".join(key.describe() for key in planned.keys)
    params: Mapping[str, Any] = compiled.params
    return hashlib.sha256(f"{compiled}\0{order}".encode()).digest(), [params[name] for name in compiled.positiontup or params]


def _told(value: Any) -> str:
    try:
        return encoded(value)
    except TypeError:
        return f"{type(value).__module__}.{type(value).__qualname__} {value!r}"
