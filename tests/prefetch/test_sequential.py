"""Sequential: the second step in a row, or the first where people go on; bounded whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dal import UsageError
from dal.prefetch import sequential
from dal.prefetch.streams import STREAMS, Streams
from tests.prefetch.walks import only, page, seen


def test_the_second_page_in_a_row_brings_the_third() -> None:
    model = sequential().begin()
    first = only(model.observe(seen("ann", 1)))
    assert not first.requests
    assert "too few to tell" in first.why
    second = only(model.observe(seen("ann", 2)))
    assert second.requests == (page(3),)
    assert second.probability > 0.5


def test_two_visitors_are_two_walks() -> None:
    model = sequential().begin()
    model.observe(seen("ann", 1))
    assert not only(model.observe(seen("bob", 2))).requests, "bob came from nowhere"
    assert only(model.observe(seen("ann", 2))).requests


def test_without_a_client_the_cursor_tells_the_walk() -> None:
    model = sequential().begin()
    model.observe(seen(None, 1))
    assert only(model.observe(seen(None, 2))).requests == (page(3),)
    assert not only(model.observe(seen(None, 7))).requests


def test_a_jump_begins_anew() -> None:
    model = sequential().begin()
    for number in (1, 2, 9):
        thought = only(model.observe(seen("ann", number)))
    assert not thought.requests


def test_the_first_page_brings_the_second_where_people_go_on() -> None:
    model = sequential().begin()
    for visitor in range(12):
        model.observe(seen(visitor, 1))
        model.observe(seen(visitor, 2))
    thought = only(model.observe(seen("new", 1)))
    assert thought.requests == (page(2),)
    assert "12 of 13" in thought.why


def test_where_people_stop_it_stops() -> None:
    model = sequential().begin()
    for visitor in range(40):
        model.observe(seen(visitor, 1))
        thought = only(model.observe(seen(visitor, 2)))
    assert not thought.requests
    assert "fewer than 50%" in thought.why


def test_backwards_brings_the_page_before() -> None:
    model = sequential().begin()
    for number in (5, 6, 5):
        thought = only(model.observe(seen("ann", number)))
    assert thought.requests == (page(4),)
    for number in (4, 3, 2, 1):
        thought = only(model.observe(seen("ann", number)))
    assert not thought.requests
    assert "nothing follows" in thought.why


def test_the_last_page_brings_nothing() -> None:
    model = sequential().begin()
    model.observe(seen("ann", 1, last=2))
    assert not only(model.observe(seen("ann", 2, last=2))).requests


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 6)), max_size=400))
def test_tables_stay_bounded_and_rates_are_shares(walk: list[tuple[int, int]]) -> None:
    streams = Streams()
    for client, number in walk:
        _, rates = streams.advance(seen(client or None, number, last=6))
        assert all(0 <= went_on <= reached for went_on, reached in zip(rates.went_on, rates.reached, strict=True))
    assert len(streams.streams) <= STREAMS


def test_many_visitors_push_out_the_oldest() -> None:
    streams = Streams()
    for client in range(3 * STREAMS):
        streams.advance(seen(client, 1))
    assert len(streams.streams) == STREAMS


@pytest.mark.parametrize("value", [-0.1, 1.5, "0.5", True])
def test_a_share_out_of_range_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="first_page_from"):
        sequential(first_page_from=value)  # type: ignore[arg-type]
