"""A way is known again exactly when walking it would give the same."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool
from sqlalchemy.util import greenlet_spawn

from dal.detection import detect, listeners, shapes
from dal.detection.report import Report
from dal.detection.trail import Trail, recognise, walk
from tests.detection.scenarios import columns, eager_loads, lazy_loads, ported, statements, writes  # noqa: F401
from tests.detection.scenarios.models import Base, seed
from tests.detection.scenarios.table import TABLE, App

trails: list[Trail] = []


def look(end: int = 0) -> tuple[Trail, bool]:
    """Do what a listener does: know the way, or walk it and remember."""
    known = recognise(trails, end)
    if known is not None:
        return known, True
    trail = walk(sys._getframe(1), end, 2)
    trails.insert(0, trail)
    return trail, False


@pytest.fixture(autouse=True)
def fresh() -> None:
    trails.clear()


def through(function: Callable[[], tuple[Trail, bool]]) -> tuple[Trail, bool]:
    return function()


def test_a_loop_is_one_way_and_two_calls_on_a_line_are_two() -> None:
    (first, known), (again, known_again) = [look() for _ in range(2)]
    assert (known, known_again) == (False, True)
    assert first is again
    (one, _), (other, known) = look(), look()
    assert not known
    assert one.key != other.key


def test_another_caller_is_another_way() -> None:
    found = [through(look) for _ in range(3)]
    other, known = through(look)
    assert [known for _, known in found] == [False, True, True]
    assert not known
    assert other.key[0] == found[0][0].key[0]
    assert other.key != found[0][0].key


def test_recursion_is_folded_and_each_depth_is_walked_once() -> None:
    def down(left: int) -> tuple[Trail, bool]:
        return down(left - 1) if left else look()

    seen = [[down(depth) for depth in (1, 2, 3)] for _ in range(2)]
    assert [known for _, known in seen[0]] == [False, False, False]
    assert [known for _, known in seen[1]] == [True, True, True]
    assert len({trail.key for trail, _ in seen[0]}) == 1


def test_the_end_belongs_to_the_way() -> None:
    here = id(sys._getframe())
    found = [look(end) for end in (0, here, 0, here, here + 1)]
    assert [known for _, known in found] == [False, False, True, True, False]
    assert [trail.ended for trail, _ in found] == [False, True, False, True, False]


def test_a_shallow_stack_is_no_way_at_all() -> None:
    def deep(left: int) -> tuple[Trail, bool]:
        return deep(left - 1) if left else look()

    deep(50)
    assert not look()[1]


def test_greenlets_are_crossed() -> None:
    async def inside() -> tuple[Trail, bool]:
        return await greenlet_spawn(lambda: look())

    async def one() -> list[tuple[Trail, bool]]:
        return [await inside() for _ in range(2)]

    async def other() -> tuple[Trail, bool]:
        return await inside()

    first, again = asyncio.run(one())
    assert (first[1], again[1]) == (False, True)
    assert {code.co_name for code, _ in first[0].places} >= {"inside", "one"}
    elsewhere, known = asyncio.run(other())
    assert not known
    assert elsewhere.key != first[0].key


def test_what_is_remembered_is_bounded() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    code = "def act(connection, text):\n    connection.execute(text('SELECT 1 FROM (SELECT 1)'))\n"
    with engine.connect() as connection, detect():
        for _ in range(30):
            names: dict[str, object] = {}
            exec(compile(code, "app.py", "exec"), names)
            names["act"](connection, text)  # type: ignore[operator]
    engine.dispose()
    assert 1 <= len(shapes.shape_of("SELECT 1 FROM (SELECT 1)").trails) <= 8


@pytest.mark.parametrize("name", sorted(TABLE)[::16])
def test_findings_are_those_of_walking_each_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def findings() -> list[tuple[str, str, int, tuple[str, ...]]]:
        return sorted((each.rule, each.subject, each.queries, each.stack) for each in observed(name).findings)

    recognised = findings()
    monkeypatch.setattr(listeners, "recognise", lambda trails, end: None)
    assert findings() == recognised


def observed(name: str) -> Report:
    engine: Engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        seed(session)
    with Session(engine) as session, detect() as report:
        TABLE[name].run(App(engine, session))
    engine.dispose()
    return report
