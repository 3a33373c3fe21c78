"""Areas of a map: `pager.area(x, y)`, cut into cells that are kept one by one and read together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Result, and_, or_
from sqlalchemy.orm import Session

from dal.errors import UsageError
from dal.prefetch import _internals
from dal.prefetch.cells import Cell, Range, cover, rectangles, ring
from dal.prefetch.kept import Kept
from dal.prefetch.parameters import Arguments, digest
from dal.prefetch.query import Query
from dal.prefetch.requests import Request
from dal.prefetch.sources import Loaded
from dal.prefetch.spatial import Spatial

__all__ = ["Areas"]

T = TypeVar("T")

MOST = 10_000
"""Rows that one statement for an area may return."""


class Areas(Generic[T]):
    """The rows of one statement by where they lie; the source of the requests for cells.

    Args:
        query: The statement.
        columns: The strategy that names the two coordinates.
        template: What the requests are known by.
        kept: Where cells are kept.

    Raises:
        UsageError: The statement groups, limits or merges rows.
    """

    def __init__(self, query: Query[T], columns: Spatial, template: str, kept: Kept) -> None:
        self.template = template
        self._query = query
        self._x, self._y = columns.columns
        self._kept = kept
        if query.planned.wrapped:
            raise UsageError(
                f"area() adds a condition to the rows of {query.name}, and this statement groups, limits or merges rows",
                hint="page a plain select(Airport) for it",
            )

    def cells(self, x: Range, y: Range, arguments: Arguments) -> list[Request]:
        """Return the requests whose answers together are an area.

        Raises:
            UsageError: A range is none.
        """
        return [self._request(cell, arguments) for cell in cover(_range(x, str(self._x)), _range(y, str(self._y)))]

    def around(self, cells: Sequence[Request]) -> tuple[Request, ...]:
        """Return the requests of the cells around an area's."""
        return tuple(self._request(cell, cells[0].arguments) for cell in ring({_cell(each) for each in cells}))

    def fetch(self, cells: Sequence[Request], x: Range, y: Range) -> tuple[list[T], bool]:
        """Return what lies in an area, and whether a statement was sent."""
        of = {self._key(each): each for each in cells}
        found, sent = self._kept.fetch_many(
            list(of), lambda session, missing: self._read(session, [of[key] for key in missing])
        )
        items: list[T] = []
        for rows, places in found:
            items += [row for row, at in zip(rows, places, strict=True) if x[0] <= at[0] <= x[1] and y[0] <= at[1] <= y[1]]
        return items, sent

    def holds(self, request: Request) -> bool:
        """Tell whether a cell is in the cache."""
        return self._kept.holds(self._key(request))

    def load(self, requests: Sequence[Request]) -> Loaded:
        """Load cells into the cache, in one statement."""
        of = {self._key(each): each for each in requests}
        return self._kept.prime_many(list(of), lambda session, missing: self._read(session, [of[key] for key in missing]))

    def describe(self, request: Request) -> str:
        """Tell what a request asks for."""
        return f"an area of {self._query.describe(request.arguments)}"

    def _request(self, cell: Cell, arguments: Arguments) -> Request:
        return Request(self.template, arguments, cell)

    def _key(self, request: Request) -> str:
        return f"cell {self.template} {digest(request.arguments, *_cell(request))}"

    def _read(self, session: Session, requests: Sequence[Request]) -> Mapping[str, Any]:
        """Read the rows of cells of one grid; each cell's are (rows, places)."""
        grid = _cell(requests[0])
        found: dict[Cell, tuple[list[Any], list[tuple[float, float]]]] = {_cell(each): ([], []) for each in requests}
        statement = self._query.bound(requests[0].arguments).order_by(None).where(self._condition(found)).limit(MOST + 1)
        items, places = self._split(session.execute(statement.add_columns(self._x, self._y)))
        if len(items) > MOST:
            raise UsageError(
                f"more than {MOST:,} rows of {self._query.name} lie in this area and beside it",
                hint="ask for a smaller area, or filter the statement by how far it is zoomed out",
            )
        for item, place in zip(items, places, strict=True):
            rows, at = found[grid.at(*place)]
            rows.append(item)
            at.append(place)
        return {self._key(each): found[_cell(each)] for each in requests}

    def _split(self, result: Result[Any]) -> tuple[list[Any], list[tuple[float, float]]]:
        """Take the coordinates off the rows."""
        width = self._query.planned.width
        frozen: Any = (result.unique() if _internals.repeats(result) else result).freeze()
        columns = frozen().columns(*range(width))
        items = list(columns.scalars().all() if width == 1 else columns.all())
        coordinates = frozen().columns(width, width + 1)
        return items, [(float(x), float(y)) for x, y in coordinates.all()]

    def _condition(self, cells: Mapping[Cell, Hashable]) -> ColumnElement[bool]:
        return or_(
            *(
                and_(self._x >= box.x[0], self._x < box.x[1], self._y >= box.y[0], self._y < box.y[1])
                for box in rectangles(list(cells))
            )
        )


def _cell(request: Request) -> Cell:
    cell = request.position
    assert isinstance(cell, Cell)
    return cell


def _range(span: Any, name: str) -> Range:
    try:
        low, high = (float(each) for each in span)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: {span!r} is no range", hint=f"give two numbers, such as ({name} from, to)") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{name}: {span!r} is no range: the first is to be less than the second", hint="write (40.5, 41.5)")
    return low, high
