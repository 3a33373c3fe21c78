"""A map cut into cells, so that views that overlap share what was loaded.

A view is covered by cells whose edge is a power of two, between a quarter and a half of the view's: at most five in each
direction, whatever the zoom. The same zoom gives the same grid, so that a view moved by a bit needs one more row of cells, and
the ring around the cells is what the next step can lead into.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Box", "Cell", "Range", "cover", "rectangles", "ring"]

Range = tuple[float, float]


class Cell(NamedTuple):
    """A cell: the exponents of its two edges, and its place in that grid."""

    x_edge: int
    y_edge: int
    x: int
    y: int

    def at(self, x: float, y: float) -> Cell:
        """Return the cell of the same grid that a point lies in."""
        return Cell(self.x_edge, self.y_edge, math.floor(math.ldexp(x, -self.x_edge)), math.floor(math.ldexp(y, -self.y_edge)))


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: its lower edges belong to it, its upper ones do not."""

    x: Range
    y: Range


def cover(x: Range, y: Range) -> list[Cell]:
    """Return the cells that cover a view.

    Args:
        x: From and to, the first less than the second.
        y: The same in the other direction.

    Example:
        >>> len(cover((0.0, 4.0), (0.0, 4.0)))
        25
    """
    x_edge, y_edge = _edge(x), _edge(y)
    return [Cell(x_edge, y_edge, each_x, each_y) for each_y in _places(y, y_edge) for each_x in _places(x, x_edge)]


def ring(cells: Collection[Cell]) -> list[Cell]:
    """Return the cells around a rectangle of cells."""
    first = next(iter(cells))
    xs = range(min(cell.x for cell in cells) - 1, max(cell.x for cell in cells) + 2)
    ys = range(min(cell.y for cell in cells) - 1, max(cell.y for cell in cells) + 2)
    around = (Cell(first.x_edge, first.y_edge, x, y) for y in ys for x in xs)
    return [cell for cell in around if cell not in cells]


def rectangles(cells: Collection[Cell]) -> list[Box]:
    """Return a few boxes that together are the cells of one grid: runs in a row, those above each other taken together."""
    runs: dict[tuple[int, int], list[int]] = {}
    for y in sorted({cell.y for cell in cells}):
        for run in _runs(sorted(cell.x for cell in cells if cell.y == y)):
            runs.setdefault(run, []).append(y)
    first = next(iter(cells))
    return [
        Box(_range(left, right, first.x_edge), _range(bottom, top, first.y_edge))
        for (left, right), ys in runs.items()
        for bottom, top in _runs(ys)
    ]


def _edge(span: Range) -> int:
    fraction, exponent = math.frexp(span[1] - span[0])
    return exponent - (3 if fraction == 0.5 else 2)


def _places(span: Range, edge: int) -> range:
    return range(math.floor(math.ldexp(span[0], -edge)), math.floor(math.ldexp(span[1], -edge)) + 1)


def _runs(places: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for at in range(1, len(places) + 1):
        if at == len(places) or places[at] != places[at - 1] + 1:
            yield places[start], places[at - 1]
            start = at


def _range(first: int, last: int, edge: int) -> Range:
    return math.ldexp(first, edge), math.ldexp(last + 1, edge)
