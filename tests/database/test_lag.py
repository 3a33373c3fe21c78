"""Staleness from log positions: the arithmetic, against a replica that replays with a delay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dal.database.lag import Positions


def test_nothing_known_is_as_old_as_can_be() -> None:
    assert Positions().staleness(10**9, now=1.0) == float("inf")


def test_a_silent_primary_makes_nothing_old() -> None:
    positions = Positions()
    positions.note(100, at=0.0)
    assert positions.staleness(100, now=60.0) == 60.0
    assert positions.staleness(100, now=60.0, silent=True) == 0.0
    positions.note(200, at=1.0)
    assert positions.staleness(100, now=60.0, silent=True) == 60.0


def test_another_primary_starts_anew() -> None:
    positions = Positions()
    positions.note(1000, at=0.0)
    positions.note(10, at=1.0)
    assert positions.staleness(1000, now=2.0) == 1.0
    assert positions.staleness(5, now=2.0) == float("inf")


@given(
    writes=st.lists(st.integers(0, 50), min_size=2, max_size=40),
    delay=st.integers(0, 10),
)
def test_it_is_never_told_younger_than_it_is(writes: list[int], delay: int) -> None:
    positions, log = Positions(), [0]
    for second, written in enumerate(writes):
        log.append(log[-1] + written)
        positions.note(log[-1], at=float(second))
        shown_at = max(0, second - delay)
        replayed = log[shown_at + 1]
        staleness = positions.staleness(replayed, now=float(second))
        # Whatever was written after the moment it claims to show is in what it has replayed.
        assert staleness <= second - shown_at
        assert all(log[at + 1] <= replayed for at in range(second + 1) if at <= second - staleness)
