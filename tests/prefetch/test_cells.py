"""Cells: they cover a view, they do not overlap, their boxes are exactly them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dal.prefetch.cells import Cell, cover, rectangles, ring

spans = st.tuples(st.floats(-180, 180), st.floats(0.001, 90)).map(lambda each: (each[0], each[0] + each[1]))
points = st.floats(0, 1)


@given(spans, spans, points, points)
def test_cells_cover_a_view_and_are_few(x: tuple[float, float], y: tuple[float, float], across: float, up: float) -> None:
    cells = cover(x, y)
    assert len(cells) == len(set(cells)) <= 36
    point = (x[0] + across * (x[1] - x[0]), y[0] + up * (y[1] - y[0]))
    assert cells[0].at(*point) in cells
    around = ring(cells)
    assert not set(around) & set(cells)
    wide, high = len({cell.x for cell in cells}), len({cell.y for cell in cells})
    assert len(around) == (wide + 2) * (high + 2) - len(cells)


@given(st.sets(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1))
def test_boxes_are_exactly_the_cells(places: set[tuple[int, int]]) -> None:
    cells = {Cell(-2, 1, x, y) for x, y in places}
    boxes = rectangles(cells)
    for x in range(-5, 6):
        for y in range(-5, 6):
            point = ((x + 0.5) * 0.25, (y + 0.5) * 2)
            times = sum(box.x[0] <= point[0] < box.x[1] and box.y[0] <= point[1] < box.y[1] for box in boxes)
            assert times == ((x, y) in places)


def test_a_view_moved_by_a_bit_uses_the_same_grid() -> None:
    before, after = set(cover((10.0, 13.0), (40.0, 42.0))), set(cover((10.3, 13.3), (40.0, 42.0)))
    assert len(before & after) >= len(before) * 0.7
    assert after - before <= set(ring(before))
