"""What a window computes: sum, count, least, greatest, average and the like, one item at a time.

As in SQL, None is left out, and of nothing but None a sum is None. The state of each is made of plain values, so that it can
be kept with the stream's position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dal.streams.fields import Field, getter

__all__ = [
    "AggregateFunction",
    "avg_of",
    "collect_of",
    "count_of",
    "distinct_of",
    "first_of",
    "last_of",
    "max_of",
    "min_of",
    "sum_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateFunction:
    """An aggregate, to be written by hand where the ones below do not do.

    Args:
        value: Takes what is aggregated out of an item.
        start: The state before any value.
        step: The state after one more value.
        merge: The state of two parts, the earlier one first; sessions that grow together need it.
        finish: The result of a state.

    Example:
        >>> product = AggregateFunction(value=float, start=1.0, step=lambda a, b: a * b, merge=lambda a, b: a * b)
        >>> product.finish(product.step(product.step(product.start, 2.0), 4.0))
        8.0
    """

    value: Callable[[Any], Any]
    start: Any
    step: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any]
    finish: Callable[[Any], Any] = lambda state: state


def sum_of(field: Field) -> AggregateFunction:
    """Add up a field.

    Args:
        field: `Sale.total`, `"total"` or a function of the item.
    """
    return _folding(field, lambda a, b: a + b)


def min_of(field: Field) -> AggregateFunction:
    """Find the least value of a field.

    Args:
        field: `Sale.total`, `"total"` or a function of the item.
    """
    return _folding(field, min)


def max_of(field: Field) -> AggregateFunction:
    """Find the greatest value of a field.

    Args:
        field: `Sale.total`, `"total"` or a function of the item.
    """
    return _folding(field, max)


def first_of(field: Field) -> AggregateFunction:
    """Take the value that came first.

    Args:
        field: `Sale.total`, `"total"` or a function of the item.
    """
    return _folding(field, lambda a, b: a)


def last_of(field: Field) -> AggregateFunction:
    """Take the value that came last.

    Args:
        field: `Sale.total`, `"total"` or a function of the item.
    """
    return _folding(field, lambda a, b: b)


def count_of(field: Field = None) -> AggregateFunction:
    """Count items, or those where a field is not None.

    Args:
        field: The field; by default every item counts.
    """
    return AggregateFunction(
        value=(lambda item: True) if field is None else getter(field),
        start=0,
        step=lambda state, value: state if value is None else state + 1,
        merge=lambda a, b: a + b,
    )


def avg_of(field: Field) -> AggregateFunction:
    """Average a field.

    Args:
        field: `Sale.total`, `"total"` or a function of the item.
    """
    total = sum_of(field)
    return AggregateFunction(
        value=total.value,
        start=(None, 0),
        step=lambda state, value: state if value is None else (total.step(state[0], value), state[1] + 1),
        merge=lambda a, b: (total.merge(a[0], b[0]), a[1] + b[1]),
        finish=lambda state: None if state[0] is None else state[0] / state[1],
    )


def collect_of(field: Field) -> AggregateFunction:
    """Collect the values of a field, in the order they came; the state grows with them.

    Args:
        field: `Sale.id`, `"id"` or a function of the item.
    """
    return AggregateFunction(
        value=getter(field),
        start=(),
        step=lambda state, value: state if value is None else (*state, value),
        merge=lambda a, b: (*a, *b),
        finish=list,
    )


def distinct_of(field: Field) -> AggregateFunction:
    """Count the different values of a field, exactly; the state grows with them.

    Args:
        field: `Sale.customer`, `"customer"` or a function of the item.
    """
    return AggregateFunction(
        value=getter(field),
        start=frozenset(),
        step=lambda state, value: state if value is None else state | {value},
        merge=lambda a, b: a | b,
        finish=len,
    )


def _folding(field: Field, fold: Callable[[Any, Any], Any]) -> AggregateFunction:
    def both(state: Any, value: Any) -> Any:
        return value if state is None else state if value is None else fold(state, value)

    return AggregateFunction(value=getter(field), start=None, step=both, merge=both)
