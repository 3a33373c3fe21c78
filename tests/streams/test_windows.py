"""Windows, aggregates and alerts, without a database: whatever the order of arrival, the result is that of a batch."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dal import (
    Alert,
    Anomaly,
    Threshold,
    UsageError,
    avg_of,
    collect_of,
    count_of,
    distinct_of,
    first_of,
    last_of,
    max_of,
    min_of,
    sum_of,
)
from dal.streams.alerts import AlertStage
from dal.streams.fields import getter, named_getters
from dal.streams.kept import kept_text, kept_value
from dal.streams.stage import Event, Stage
from dal.streams.steps import window_step

SECOND = 1_000_000
ALL = {
    "n": count_of(),
    "sum": sum_of("value"),
    "least": min_of("value"),
    "most": max_of("value"),
    "mean": avg_of("value"),
    "different": distinct_of("value"),
    "present": count_of("value"),
}

items = st.lists(st.tuples(st.integers(0, 200), st.sampled_from("ab"), st.none() | st.integers(-9, 9)), min_size=1, max_size=60)


def rows(found: list[tuple[int, str, int | None]]) -> list[dict[str, Any]]:
    return [{"at": at, "shop": shop, "value": value} for at, shop, value in found]


def batch(values: list[int | None]) -> dict[str, Any]:
    """What SQL would say."""
    there = [value for value in values if value is not None]
    return {
        "n": len(values),
        "sum": sum(there) if there else None,
        "least": min(there, default=None),
        "most": max(there, default=None),
        "mean": sum(there) / len(there) if there else None,
        "different": len(set(there)),
        "present": len(there),
    }


def stage(**window: Any) -> Any:
    given: dict[str, Any] = {"size": None, "every": None, "gap": None, "idle": None, "late": None, "lateness": 0, **window}
    return window_step(by="shop", aggregate=ALL, at="at", **given)(lambda result: result)


def results(made: Stage, arrived: list[dict[str, Any]], cuts: list[int], *, restart: bool = False) -> list[Any]:
    """Let items arrive in pieces, the stage perhaps made anew in between, and close everything at the end."""
    told: list[Event] = []
    start = 0
    for cut in [*sorted(cuts), len(arrived)]:
        told += made.apply([(item, 0) for item in arrived[start:cut]])
        start = max(start, cut)
        if restart:
            made.restore(kept_value(kept_text(made.keep())))
    told += made.apply([({"at": 10_000, "shop": "end", "value": None}, 0)])
    return [row for row, _ in told]


def plain(found: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    made = {
        (row["shop"], int(row["window_start"].timestamp()), int(row["window_end"].timestamp())): {
            name: row[name] for name in ALL
        }
        for row in found
    }
    assert len(made) == len(found), "a window is told once"
    return made


@settings(max_examples=80, deadline=None)
@given(items, st.data(), st.integers(1, 20), st.integers(1, 20), st.booleans())
def test_fixed_windows_equal_a_batch(
    found: list[tuple[int, str, int | None]], data: st.DataObject, size: int, every: int, restart: bool
) -> None:
    every = min(every, size)
    arrived = rows(data.draw(st.permutations(found)))
    cuts = data.draw(st.lists(st.integers(0, len(arrived)), max_size=4))
    wanted: defaultdict[tuple[Any, ...], list[int | None]] = defaultdict(list)
    for at, shop, value in found:
        for start in range(-every * (size // every + 1), 200 + size, every):
            if start <= at < start + size:
                wanted[shop, start, start + size].append(value)
    told = results(stage(size=size, every=every, lateness=200), arrived, cuts, restart=restart)
    assert plain(told) == {key: batch(values) for key, values in wanted.items()}
    ends = [row["window_end"] for row in told]
    assert ends == sorted(ends)


@settings(max_examples=80, deadline=None)
@given(items, st.data(), st.integers(1, 20), st.booleans())
def test_sessions_equal_a_batch(found: list[tuple[int, str, int | None]], data: st.DataObject, gap: int, restart: bool) -> None:
    arrived = rows(data.draw(st.permutations(found)))
    cuts = data.draw(st.lists(st.integers(0, len(arrived)), max_size=4))
    wanted = {}
    for shop in "ab":
        sessions: list[list[tuple[int, int | None]]] = []
        for at, value in sorted(((at, value) for at, each, value in found if each == shop), key=lambda pair: pair[0]):
            if not sessions or at - sessions[-1][-1][0] >= gap:
                sessions.append([])
            sessions[-1].append((at, value))
        for each in sessions:
            wanted[shop, each[0][0], each[-1][0] + gap] = batch([value for _, value in each])
    told = results(stage(gap=gap, lateness=200), arrived, cuts, restart=restart)
    assert plain(told) == wanted


@settings(max_examples=80, deadline=None)
@given(items, st.data(), st.integers(1, 20), st.integers(0, 50), st.booleans())
def test_what_is_late_is_told_and_everything_else_counts(
    found: list[tuple[int, str, int | None]], data: st.DataObject, size: int, lateness: int, restart: bool
) -> None:
    arrived = rows(data.draw(st.permutations(found)))
    cuts = data.draw(st.lists(st.integers(0, len(arrived)), max_size=4))
    late: list[dict[str, Any]] = []
    made = stage(size=size, lateness=lateness, late=lambda item, at: late.append(item))
    told = results(made, arrived, cuts, restart=restart)
    assert sum(row["n"] for row in told) + len(late) == len(found)
    assert made.late == len(late)
    latest = -1
    wanted = []
    for item in arrived:
        latest = max(latest, item["at"])
        if item["at"] - item["at"] % size + size <= latest - lateness:
            wanted.append(item)
    assert late == wanted, "late is what comes after its window's end by the items' own time, whatever the batches were"


def test_first_last_and_all_in_the_order_they_came() -> None:
    aggregate = {"first": first_of("value"), "last": last_of("value"), "all": collect_of("value")}
    made = window_step(size=10, every=None, gap=None, by=None, aggregate=aggregate, at="at", lateness=0, idle=None, late=None)(
        lambda result: result
    )
    told = made.apply([({"at": 1, "value": value}, 0) for value in (None, 3, 1, 2)] + [({"at": 30, "value": 0}, 0)])
    row, at = told[0]
    assert (row["first"], row["last"], row["all"]) == (3, 2, [3, 1, 2])
    assert at == 10 * SECOND - 1
    assert row["window_end"] - row["window_start"] == dt.timedelta(seconds=10)


def test_the_clock_closes_windows() -> None:
    by_commit = window_step(
        size=10, every=None, gap=None, by=None, aggregate={"n": count_of()}, at=None, lateness=1, idle=None, late=None
    )(lambda result: result)
    assert by_commit.apply([("x", 5 * SECOND)]) == []
    assert by_commit.waits
    assert by_commit.advance(10_999_999) == []
    assert [row["n"] for row, _ in by_commit.advance(11 * SECOND)] == [1]
    assert by_commit.keep()[2] == []
    silent = stage(size=10, idle=60)
    silent.apply([({"at": 5, "shop": "a", "value": 1}, 0)])
    assert silent.advance(100 * SECOND) == []
    assert silent.advance(159 * SECOND) == []
    assert [row["n"] for row, _ in silent.advance(160 * SECOND)] == [1]


class Size(Enum):
    SMALL = 1


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        1.5,
        float("inf"),
        "text\0",
        b"\x00\xff",
        Decimal("1.50"),
        uuid.UUID(int=3),
        dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
        dt.date(2026, 1, 2),
        dt.time(1, 2, 3),
        dt.timedelta(days=-1, microseconds=1),
        Size.SMALL,
        (1, (2, "a"), [3]),
        frozenset({1, 2}),
        {"a": {1: None}},
    ],
)
def test_what_is_kept_comes_back_the_same(value: Any) -> None:
    found = kept_value(kept_text([value]))
    assert found == [value]
    assert type(found[0]) is type(value)


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be kept"):
        kept_text(object())


def judged(rule: Any, values: list[Any]) -> list[tuple[str, Any]]:
    """The alerts of a rule, made anew between any two values."""
    made = AlertStage(rule)
    told: list[tuple[str, Any]] = []
    for number, value in enumerate(values):
        for alert, _ in made.apply([({"v": value, "shop": "a"}, number * SECOND)]):
            assert isinstance(alert, Alert)
            told.append((alert.state, alert.value))
        kept = made.keep()
        made = AlertStage(rule)
        made.restore(kept_value(kept_text(kept)))
    return told


def test_a_threshold_with_hysteresis() -> None:
    above = Threshold(value="v", above=20, clear=15, by="shop")
    assert judged(above, [10, 21, 19, 22, 16, 15, 20, 21]) == [("raised", 21), ("cleared", 15), ("raised", 21)]
    below = Threshold(value="v", below=5, clear=8)
    assert judged(below, [5, 4, 7, None, 8, 9]) == [("raised", 4), ("cleared", 8)]


def test_an_anomaly_is_told_once_and_does_not_become_the_rule() -> None:
    calm = [100, 102, 98, 101, 99, 100, 103, 97, 100, 100]
    rule = Anomaly(value="v", over=20, sigmas=4, clear=2, after=10, by="shop")
    assert judged(rule, [*calm, 104, 200, 200, 200, 200, 200, 100]) == [("raised", 200), ("cleared", 100)]
    assert judged(rule, [5] * 30) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Threshold(value="v"), "one bound"),
        (lambda: Threshold(value="v", above=1, below=0), "one bound"),
        (lambda: Threshold(value="v", above=1, clear=2), "good side"),
        (lambda: Threshold(value="v", below=-1, clear=-2), "good side"),
        (lambda: Anomaly(value="v", after=1), "after"),
        (lambda: stage(), "seconds="),
        (lambda: stage(size=5, gap=5), "seconds="),
        (lambda: stage(gap=5, every=1), "seconds="),
        (lambda: stage(size=0), "lasts some time"),
        (lambda: stage(size=5, every=6), "leave out"),
        (lambda: getter(3), "names no field"),
        (lambda: named_getters(lambda item: 1), "no name"),
        (lambda: named_getters(""), "no name"),
    ],
)
def test_what_cannot_be_meant(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make()
    assert caught.value.hint
