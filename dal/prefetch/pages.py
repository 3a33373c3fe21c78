"""The pages of a pager: how one is asked for, read, kept and told of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar, overload

from sqlalchemy.orm import Session

from dal.paging import PageRequest, Position, Total, Totals, Window, count, read
from dal.prefetch.kept import Kept
from dal.prefetch.parameters import Arguments, digest
from dal.prefetch.query import Query
from dal.prefetch.requests import Request
from dal.prefetch.sources import Loaded

__all__ = ["Pages", "Place"]

T = TypeVar("T")

_PLACES = 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins, or ends: comparable by its text, whatever the database's values are."""

    kind: str
    text: str
    position: Position

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and (self.kind, self.text) == (other.kind, other.text)

    @classmethod
    def of(cls, kind: str, position: Position) -> Place:
        """Return the place of a position."""
        return cls(kind, digest((), position.side, *position.values), position)


class Pages(Generic[T]):
    """The pages of one statement; the source of their requests.

    Args:
        query: The statement.
        size: Rows of a page.
        total: How rows are counted.
        template: What the requests of these pages are known by.
        kept: Where pages are kept.
    """

    def __init__(self, query: Query[T], size: int, total: Totals, template: str, kept: Kept) -> None:
        self.template = template
        self.query = query
        self.size = size
        self._total: Totals = total
        self._kept = kept
        self._places: dict[tuple[str, Position], Place] = {}

    def request(self, arguments: Arguments, asked: PageRequest) -> Request:
        """Return what a checked request asks for."""
        return Request(self.template, arguments, self._place("after", asked.after) or self._place("before", asked.before))

    def following(self, request: Request, window: Window[T]) -> Request | None:
        """Return the request of the page after one."""
        return self._beside(request, self._place("after", window.next))

    def preceding(self, request: Request, window: Window[T]) -> Request | None:
        """Return the request of the page before one."""
        return self._beside(request, self._place("before", window.previous))

    def fetch(self, request: Request) -> tuple[Window[T], Total | None, bool]:
        """Return a page, its total, and whether a statement was sent for the page."""
        found, sent = self._kept.fetch(self._key(request), lambda session: self._read(session, request))
        return self._window(found), self._counted(request), sent

    def holds(self, request: Request) -> bool:
        """Tell whether a page is in the cache."""
        return self._kept.holds(self._key(request))

    def load(self, requests: Sequence[Request]) -> Loaded:
        """Load a page into the cache; they come one at a time."""
        (request,) = requests
        return self._kept.prime(self._key(request), lambda session: self._read(session, request))

    def describe(self, request: Request) -> str:
        """Tell what a request asks for."""
        place: Any = request.position
        told = "the first page" if place is None else f"the page {place.kind} {place.position.values!r}"
        return f"{told} of {self.query.describe(request.arguments)}"

    def _place(self, kind: str, position: Position | None) -> Place | None:
        """Return the place of a position, remembered: within one query equal values are the same."""
        if position is None:
            return None
        try:
            found = self._places.get((kind, position))
        except TypeError:
            return Place.of(kind, position)
        if found is None:
            if len(self._places) >= _PLACES:
                self._places.clear()
            found = self._places[kind, position] = Place.of(kind, position)
        return found

    def _beside(self, request: Request, place: Place | None) -> Request | None:
        return None if place is None else Request(self.template, request.arguments, place)

    def _key(self, request: Request) -> str:
        place: Any = request.position
        told = "" if place is None else f"{place.kind} {place.text}"
        return f"page {self.template} {digest(request.arguments)} {told}"

    def _read(self, session: Session, request: Request) -> tuple[Any, ...]:
        place: Any = request.position
        after = place.position if place is not None and place.kind == "after" else None
        before = place.position if place is not None and place.kind == "before" else None
        window = read(session, self.query.plan(request.arguments), self.size, after=after, before=before)
        return window.items, tuple(chain(*window.keys)), _pair(window.next), _pair(window.previous)

    def _window(self, found: Any) -> Window[T]:
        items, keys, following, preceding = found
        rows: Any = _Keys(keys, len(self.query.planned.keys))
        return Window(list(items), rows, _position(following), _position(preceding))

    def _counted(self, request: Request) -> Total | None:
        if self._total == "none":
            return None
        planned = self.query.plan(request.arguments)

        def counted(session: Session) -> tuple[int, bool]:
            total = count(session, planned, self._total)
            assert total is not None
            return total.value, total.exact

        found, _ = self._kept.fetch(f"total {self.template} {self._total} {digest(request.arguments)}", counted)
        return Total(*found)


def _pair(position: Position | None) -> tuple[Any, ...] | None:
    return None if position is None else (*position.values, position.side)


class _Keys(Sequence[tuple[Any, ...]]):
    """The key values of a page's rows, kept in one row: plain values in a tuple are nobody's to copy."""

    def __init__(self, values: Sequence[Any], width: int) -> None:
        self._values = values
        self._width = width

    def __len__(self) -> int:
        return len(self._values) // self._width

    @overload
    def __getitem__(self, place: int) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[Any, ...]]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        start = range(len(self))[place] * self._width
        return tuple(self._values[start : start + self._width])


def _position(pair: tuple[Any, ...] | None) -> Position | None:
    return None if pair is None else Position(tuple(pair[:-1]), pair[-1])
