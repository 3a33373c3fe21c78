"""Several processes, writers and readers: nothing stays stale, and nothing uncommitted is ever kept."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import URL

from tests.cache.races import Outcome, race


def judged(outcome: Outcome) -> None:
    assert outcome.errors == []
    assert (outcome.stale, outcome.uncommitted) == (0, 0)
    assert outcome.writes > outcome.runs
    assert outcome.hits > 0


def test_in_memory(dal_database: URL) -> None:
    judged(race(dal_database, redis=None, runs=2, seconds=0.5, readers=1))


def test_with_redis(dal_database: URL, redis_url: str) -> None:
    judged(race(dal_database, redis=redis_url, runs=2, seconds=0.5, readers=1))


@pytest.mark.soak
def test_a_hundred_runs_in_memory(dal_database: URL) -> None:
    judged(race(dal_database, redis=None, runs=100, writers=3, readers=3))


@pytest.mark.soak
def test_a_hundred_runs_with_redis(dal_database: URL, redis_url: str) -> None:
    judged(race(dal_database, redis=redis_url, runs=100, writers=3, readers=3))


@pytest.mark.soak
def test_without_its_guard_the_harness_finds_stale_values(dal_database: URL, redis_url: str) -> None:
    assert race(dal_database, redis=redis_url, runs=20, guarded=False).stale > 0
