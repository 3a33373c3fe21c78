"""Group: rows of one shape, as they go through the room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Group"]


@dataclass(frozen=True)
class Group:
    """Rows of one shape.

    Args:
        names: The attributes they carry.
        positions: Their places among all rows of the call, from 0.
        given: The rows as given.
        values: Their values, in the order of the names.
        batch: The same as an Arrow record batch, where they came as one.
    """

    names: tuple[str, ...]
    positions: Sequence[int]
    given: Sequence[Any]
    values: Sequence[tuple[Any, ...]]
    batch: Any = None
