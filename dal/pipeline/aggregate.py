"""What an aggregating stage does: one state for each key, handed on when the input is over."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

__all__ = ["Aggregate"]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """How items become one item for each key.

    Its memory grows with the number of keys, not of items.

    Args:
        key: Called with an item, returns what it is counted under.
        init: Makes the state of a new key.
        step: Called with a state and an item, returns the state from then on.
        finish: Called with a key and its state, returns the item to pass on.
        merge: Called with two states of one key, returns them as one; what a stage with several workers needs.

    Example:
        >>> by_day = Aggregate(
        ...     key=lambda flight: flight["day"],
        ...     init=int,
        ...     step=lambda total, flight: total + flight["delay"],
        ...     finish=lambda day, total: {"day": day, "delay": total},
        ... )
        >>> by_day.step(by_day.init(), {"day": 3, "delay": 20})
        20
    """

    key: Callable[[Any], Hashable]
    init: Callable[[], Any]
    step: Callable[[Any, Any], Any]
    finish: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any] | None = None
