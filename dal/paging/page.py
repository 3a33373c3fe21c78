"""A page: what the caller gets. Items, cursors to its neighbours, and a total where one was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dal.paging.keyset import Position
from dal.paging.plan import PagePlan
from dal.paging.settings import Cursors
from dal.paging.totals import Total
from dal.paging.window import Window

__all__ = ["Edge", "Page", "shape"]

T = TypeVar("T")


@dataclass(frozen=True)
class Edge(Generic[T]):
    """An item and its cursor.

    Args:
        node: The item.
        cursor: Its cursor, for `after=` and `before=`.
    """

    node: T
    cursor: str


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of an ordered whole.

    Args:
        items: Its items, in order.
        next: The cursor for `after=`, or None where nothing follows.
        previous: The cursor for `before=`, or None where nothing comes before.
        total: How many rows there are in all, where it was asked for.

    Example:
        >>> page = Page(["Ada", "Grace"], next="AWd...", previous=None)
        >>> len(page), list(page), page.has_next, page.has_previous
        (2, ['Ada', 'Grace'], True, False)
    """

    items: list[T]
    next: str | None
    previous: str | None
    total: Total | None = None
    _cursor: Callable[[int], str] | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    @property
    def has_next(self) -> bool:
        """Whether something follows."""
        return self.next is not None

    @property
    def has_previous(self) -> bool:
        """Whether something comes before."""
        return self.previous is not None

    @property
    def edges(self) -> list[Edge[T]]:
        """The items with a cursor each, as Relay wants them."""
        if self._cursor is None:
            return []
        return [Edge(item, self._cursor(place)) for place, item in enumerate(self.items)]


def shape(planned: PagePlan[T], window: Window[T], cursors: Cursors, total: Total | None = None) -> Page[T]:
    """Make a page of rows that were read.

    Args:
        planned: The plan.
        window: The rows, as `read` returned them or as a cache kept them.
        cursors: How cursors are made.
        total: The total, if one was asked for.

    Returns:
        The page.
    """

    def sign(position: Position) -> str:
        return cursors.signer.sign(position, query=planned.fingerprint, owner=cursors.owner)

    return Page(
        items=window.items,
        next=None if window.next is None else sign(window.next),
        previous=None if window.previous is None else sign(window.previous),
        total=total,
        _cursor=lambda place: sign(Position(window.keys[place])),
    )
