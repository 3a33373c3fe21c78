"""What cannot mean what was written is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import bindparam, func, select, text

from dal import CursorConfig, sequential, spatial
from dal.errors import CursorError, UsageError
from tests.prefetch.doors import Town
from tests.prefetch.town import BY_AGE, Home, Person, Place


@pytest.fixture
def strict_cursors() -> CursorConfig:
    return CursorConfig(keys=["a secret of 16 bytes or more"])


def test_a_foreign_cursor_is_refused_before_anything_is_sent(opened: Callable[..., Town], strict_cursors: CursorConfig) -> None:
    with opened(cursors=strict_cursors) as town:
        people, homes = town.pager(BY_AGE, size=30), town.pager(select(Home), size=3)
        cursor = town.page(homes).next
        with town.counted() as sent:
            for bad in (cursor, "rubbish", cursor[:-3] + "AAA"):
                with pytest.raises(CursorError):
                    town.page(people, after=bad)
            with pytest.raises(UsageError, match="after and before"):
                town.page(people, after="a", before="b")
            mine = town.page(people, owner="ann").next
            with pytest.raises(CursorError):
                town.page(people, owner="bob", after=mine)
            town.page(people, owner="ann", after=mine)
        assert sent.count == 2


@pytest.mark.parametrize(
    ("statement", "options", "told"),
    [
        (select(Person), {"size": 0}, "size is 0"),
        (select(Person), {"size": True}, "size is True"),
        (select(Person), {"prefetch": sequential}, r"no strategy\n  hint: write sequential\(\)"),
        (select(Person), {"prefetch": "sequential"}, "no strategy"),
        (select(Person).with_for_update(), {}, "FOR UPDATE"),
        (select(Person).where(Person.age > func.random()), {}, r"random\(\)"),
        (select(Person, func.now()), {}, r"now\(\)"),
        (text("SELECT 1"), {}, "cannot be paged"),
        (select(Person), {"total": "many"}, "no total"),
        (
            select(Person),
            {"prefetch": spatial(Place.lat, Place.lon)},
            "reads Person",
        ),
    ],
)
def test_what_cannot_be_paged_is_refused_at_once(town: Town, statement: Any, options: Any, told: str) -> None:
    with town.counted() as sent, pytest.raises(UsageError, match=told):
        town.pager(statement, **options)
    assert sent.count == 0


def test_bad_calls_are_refused_before_anything_is_sent(town: Town) -> None:
    wanted = town.pager(select(Person).where(Person.home_id == bindparam("home")), prefetch=spatial())
    people = town.pager(select(Person))
    names = town.pager(select(Person.name))
    mapped = town.pager(select(Place), prefetch=spatial(Place.lat, Place.lon))
    calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], str]] = [
        (wanted.page, (), {}, 'values={"home": ...}'),
        (wanted.page, (), {"values": {"house": 1}}, 'values={"home": ...}'),
        (wanted.page, (), {"values": {"home": [1]}}, "home is a list"),
        (wanted.page, (), {"values": {"home": object()}}, "home is a object"),
        (people.page, (), {"values": {"home": 1}}, "leave values out"),
        (people.page, (), {"client": []}, "cannot tell visitors apart"),
        (people.get, ((1, 2),), {}, "made of id"),
        (names.get, (1,), {}, "one object by its key"),
        (people.area, ((1, 2), (1, 2)), {}, "two columns of the map"),
        (mapped.area, ((2, 1), (1, 2)), {}, "no range"),
        (mapped.area, ((1, float("nan")), (1, 2)), {}, "no range"),
        (mapped.area, (1, (1, 2)), {}, "no range"),
    ]
    with town.counted() as sent:
        for call, args, options, told in calls:
            with pytest.raises(UsageError) as refused:
                town.do(call, *args, **options)
            assert told in str(refused.value)
    assert sent.count == 0


def test_a_closed_database_gives_no_pager(opened: Callable[..., Town]) -> None:
    with opened() as town:
        pass
    with pytest.raises(UsageError, match="closed"):
        town.db.pager(select(Person))
    with pytest.raises(UsageError, match="closed"):
        town.db.prefetch
