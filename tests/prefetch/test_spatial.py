"""Spatial: what lies nearby is offered in one statement, and how often visitors stay is learned."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from dal import UsageError
from dal.prefetch import spatial
from dal.prefetch.requests import Request, Seen
from tests.prefetch.walks import only, page


class Base(DeclarativeBase): ...


class Place(Base):
    __tablename__ = "places"

    id: Mapped[int] = mapped_column(primary_key=True)
    lat: Mapped[float]
    lon: Mapped[float]
    within_id: Mapped[int | None] = mapped_column(ForeignKey("places.id"))
    within: Mapped[Any] = relationship("Place")


def key(number: int) -> Request:
    return Request("objects", (("id", number),))


def read(number: int) -> Seen:
    return Seen("ann", key(number), nearby=tuple(key(number + each) for each in (-1, 1, -2, 2)))


def test_neighbours_are_offered_together() -> None:
    thought = only(spatial().begin().observe(read(10)))
    assert thought.requests == (key(9), key(11), key(8), key(12))
    assert "0 of 0 visitors stayed near" in thought.why


def test_it_learns_whether_visitors_stay() -> None:
    near, far = spatial().begin(), spatial().begin()
    for number in range(20):
        stays = only(near.observe(read(number)))
        leaves = only(far.observe(read(number * 100)))
    assert stays.probability > 0.85
    assert leaves.probability < 0.15


def test_a_step_backwards_brings_the_page_before() -> None:
    model = spatial().begin()
    thought = only(model.observe(Seen("ann", page(5), "backwards", preceding=page(4))))
    assert thought.requests == (page(4),)
    assert not only(model.observe(Seen("ann", page(4), "forwards", preceding=page(3)))).requests


def test_an_answer_put_together_stays_near_by_any_of_its_parts() -> None:
    model = spatial().begin()
    model.observe(read(10))
    view = Seen("ann", Request("objects", (), "view"), made_of=(key(11), key(500)))
    thought = only(model.observe(view))
    assert "nothing lies nearby" in thought.why
    assert "1 of 1 visitors stayed near" in only(model.observe(read(1))).why


def test_strategies_over_the_same_columns_are_equal() -> None:
    assert spatial(Place.lat, Place.lon) == spatial(Place.lat, Place.lon)
    assert hash(spatial(Place.lat, Place.lon)) == hash(spatial(Place.lat, Place.lon))
    assert spatial(Place.lat, Place.lon) != spatial()


@pytest.mark.parametrize("columns", [(Place.lat,), (Place.lat, Place.lon, Place.id), ("lat", "lon"), (Place.lat, Place.within)])
def test_what_is_no_pair_of_columns_is_refused(columns: tuple[Any, ...]) -> None:
    with pytest.raises(UsageError, match="two mapped columns"):
        spatial(*columns)


def test_a_number_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="near"):
        spatial(near=0)
