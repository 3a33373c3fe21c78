"""Temporal: what was asked at this hour of the week, shortly before it comes round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dal import ConfigError, UsageError
from dal.prefetch import temporal
from dal.prefetch.requests import Seen, Timed
from dal.prefetch.temporal import HOUR, HOURS
from tests.prefetch.walks import Desk, page

WEEK = HOUR * HOURS
NINE = 40 * WEEK + 9 * HOUR


def test_it_brings_back_last_weeks_favourites_before_the_hour() -> None:
    model = temporal(top=2, before="5m").begin()
    assert isinstance(model, Timed)
    for number, times in ((1, 5), (2, 9), (3, 1)):
        for _ in range(times):
            model.observe(Seen("ann", page(number), at=NINE + 60))
    assert model.due(NINE - 300) == []
    next_week = NINE + WEEK - 300
    assert model.next_due(next_week - 1) == next_week
    assert model.next_due(next_week) == next_week + HOUR
    assert [thought.requests for thought in model.due(next_week)] == [(page(2),), (page(1),)]
    assert model.due(next_week + HOUR) == []
    assert "1 of 1 weeks" in model.due(next_week)[0].why


def test_what_is_not_asked_any_more_fades() -> None:
    model = temporal(top=2).begin()
    assert isinstance(model, Timed)
    for _ in range(8):
        model.observe(Seen("ann", page(1), at=NINE))
    for week in range(1, 6):
        for _ in range(3):
            model.observe(Seen("ann", page(2), at=NINE + week * WEEK))
    (first, second) = model.due(NINE + 6 * WEEK - 300)
    assert first.requests == (page(2),)
    assert first.probability > 3 * second.probability


def test_the_clock_sends_it() -> None:
    strategy = temporal()
    desk = Desk(strategy)
    assert not desk.executor.clocks
    desk.now = NINE
    for _ in range(2):
        desk.demand(Seen("ann", page(1), at=desk.now))
    ((next_due, warm),) = desk.executor.clocks
    desk.shelf.kept.clear()
    desk.now = next_due(NINE + WEEK - HOUR)
    warm()
    assert desk.shelf.kept == {page(1)}
    assert "temporal after the clock: waiting; asked in this hour of the week" in desk.why
    desk.now += 299
    assert desk.demand(Seen("bob", page(1), at=desk.now))
    assert desk.prefetcher.stats().strategies["temporal"].precision == 1


def test_all_of_the_favourites_are_sent_though_two_at_most_are_in_flight() -> None:
    strategy = temporal(top=9)
    desk = Desk(strategy, budget=1.0)
    desk.now = NINE
    for number in range(1, 10):
        desk.demand(Seen("ann", page(number), at=desk.now))
    desk.shelf.kept.clear()
    desk.now = NINE + WEEK - 300
    desk.prefetcher.warm(strategy)
    assert len(desk.shelf.kept) == 9


@given(st.lists(st.tuples(st.integers(0, 3 * HOURS), st.integers(1, 200)), max_size=400))
def test_hours_stay_bounded(asked: list[tuple[int, int]]) -> None:
    model = temporal(top=3).begin()
    for hour, number in sorted(asked):
        model.observe(Seen("ann", page(number), at=hour * HOUR))
    assert isinstance(model, Timed)
    for hour in range(HOURS):
        thoughts = model.due(3 * WEEK + hour * HOUR)
        assert len(thoughts) <= 3
        assert all(0 <= thought.probability <= 1 for thought in thoughts)
    hours = model._hours  # type: ignore[attr-defined]
    assert len(hours) <= HOURS
    assert all(len(each.counts) <= 12 for each in hours.values())


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="top"):
        temporal(top=21)
    with pytest.raises(UsageError, match="before"):
        temporal(before="2h")
    with pytest.raises(ConfigError):
        temporal(before="soon")
