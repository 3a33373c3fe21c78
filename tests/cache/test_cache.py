"""What is kept, what callers get, and what a cache does between threads and tasks; both doors."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, inspect, select, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import selectinload

from dal import AsyncDatabase, Database, MemoryCache, UsageError
from dal.cache import shapes
from tests.cache.conftest import Reader, as_awaited, eventually, stats
from tests.cache.models import Author, Book, authors
from tests.database.doors import Door


def test_a_value_is_fetched_once(db: Door) -> None:
    read = Reader(db, authors)
    assert [author.name for author in read()] == ["a1", "a2", "a3", "a4"]
    assert [author.name for author in read()] == ["a1", "a2", "a3", "a4"]
    assert read.loads == 1
    found = stats(db)
    assert (found.hits, found.misses, found.fills, found.entries) == (1, 1, 1, 1)
    assert found.listening
    assert found.hit_ratio == 0.5


def test_callers_get_objects_of_their_own(db: Door) -> None:
    read = Reader(db, authors)
    first, second = read(), read()
    assert first[0] is not second[0]
    first[0].name = "changed"
    first[0].options["tags"].append("changed")
    first.clear()
    third = read()
    assert third[0].name == second[0].name == "a1"
    assert third[0].options == {"tags": ["a", "1"]}
    assert all(inspect(author).detached for author in third)


def test_none_and_plain_values_are_kept(db: Door) -> None:
    nothing = Reader(db, lambda session: None, "nothing")
    assert nothing() is None
    assert nothing() is None
    count = Reader(db, lambda session: session.scalar(select(func.count()).select_from(Author)), "count")
    assert [count(), count()] == [4, 4]
    assert (nothing.loads, count.loads) == (1, 1)


def test_peek_has_forget_and_clear(db: Door) -> None:
    read = Reader(db, lambda session: ("value",))

    def peek() -> Any:
        return db.call(lambda each: as_awaited(each, each.cache.peek("key", default="nothing")))

    assert peek() == "nothing"
    read()
    assert peek() == ("value",)
    db.call(lambda each: as_awaited(each, each.cache.forget("key")))
    assert not read.kept
    read()
    db.call(lambda each: as_awaited(each, each.cache.clear()))
    assert peek() == "nothing"


def test_prime_fills_before_anybody_asks(db: Door) -> None:
    read = Reader(db, authors)
    assert db.call(lambda each: each.cache.prime("key", authors)) is True
    assert db.call(lambda each: each.cache.prime("key", authors)) is True
    assert len(read()) == 4
    assert read.loads == 0
    assert (stats(db).primed, stats(db).misses, stats(db).hits) == (1, 0, 1)


def test_without_a_cache_nothing_is_kept(opened: Callable[..., Door]) -> None:
    read = Reader(opened(cache=None), authors)
    assert [len(read()), len(read())] == [4, 4]
    assert read.loads == 2
    assert inspect(read()[0]).detached


def test_an_error_of_the_function_reaches_its_caller_and_is_not_kept(db: Door) -> None:
    answers: list[Any] = [ValueError("no"), 5]

    def load(session: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    read = Reader(db, load)
    with pytest.raises(ValueError, match="no"):
        read()
    assert read() == 5


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (lambda session: session.scalars(select(Author)), "an open result"),
        (lambda session: (each for each in "abc"), "cannot be kept"),
        (lambda session: threading.Lock(), "cannot be"),
        (lambda session: Author(name="new"), "made or changed"),
    ],
)
def test_what_cannot_be_kept_is_refused(db: Door, load: Callable[..., Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Reader(db, load)()


def test_a_value_made_of_other_values_is_spoiled_with_them(url: URL) -> None:
    with Database(url, cache=MemoryCache()) as db:
        inner = lambda session: [book.title for book in session.scalars(select(Book))]  # noqa: E731
        outer = lambda session: (session.scalar(select(func.count()).select_from(Author)), db.cache.fetch("in", inner))  # noqa: E731
        db.cache.fetch("in", inner)
        db.cache.fetch("out", outer)
        with db.transaction() as session:
            session.scalars(select(Book)).first().title = "changed"  # type: ignore[union-attr]
        assert not db.cache.has("out")
        assert "changed" in db.cache.fetch("out", outer)[1]


def test_a_value_that_asks_for_itself_does_not_wait_for_itself(url: URL) -> None:
    with Database(url, cache=MemoryCache()) as db:
        depth = 0

        def load(session: Any) -> int:
            nonlocal depth
            depth += 1
            return depth if depth > 1 else db.cache.fetch("key", load) + 10

        assert db.cache.fetch("key", load) == 12


def test_many_threads_that_miss_send_one_query(url: URL) -> None:
    with Database(url, cache=MemoryCache()) as db, ThreadPoolExecutor(50) as threads:
        loads = []

        def load(session: Any) -> list[Author]:
            loads.append(1)
            time.sleep(0.1)
            return authors(session)

        found = list(threads.map(lambda _: db.cache.fetch("key", load), range(200)))
        assert len(loads) == 1
        assert {len(each) for each in found} == {4}
        assert len({id(each[0]) for each in found}) == 200


async def test_many_tasks_that_miss_send_one_query(url: URL) -> None:
    async with AsyncDatabase(url, cache=MemoryCache()) as db:
        loads = []

        def load(session: Any) -> list[Author]:
            loads.append(1)
            session.execute(text("SELECT pg_sleep(0.05)"))
            return authors(session)

        found = await asyncio.gather(*(db.cache.fetch("key", load) for _ in range(1000)))
        assert len(loads) == 1
        assert {len(each) for each in found} == {4}
        assert db.cache.stats().waited == 999


async def test_a_cancelled_caller_does_not_cancel_the_others(url: URL) -> None:
    async with AsyncDatabase(url, cache=MemoryCache()) as db:
        loads = []

        def load(session: Any) -> int:
            loads.append(1)
            session.execute(text("SELECT pg_sleep(0.1)"))
            return 5

        first = asyncio.create_task(db.cache.fetch("key", load))
        await asyncio.to_thread(eventually, lambda: bool(loads))
        second = asyncio.create_task(db.cache.fetch("key", load))
        await asyncio.sleep(0.01)
        first.cancel()
        assert await second == 5
        assert len(loads) == 1
        with pytest.raises(asyncio.CancelledError):
            await first


def test_who_wrote_before_joining_is_not_given_what_was_read_before(url: URL) -> None:
    with Database(url, cache=MemoryCache()) as db, ThreadPoolExecutor(2) as threads:
        reading, go_on = threading.Event(), threading.Event()

        def load(session: Any) -> str:
            found: str = authors(session)[0].name
            if not go_on.is_set():
                reading.set()
                go_on.wait(10)
            return found

        early = threads.submit(db.cache.fetch, "key", load)
        assert reading.wait(10)
        with db.transaction() as session:
            session.get_one(Author, 1).name = "changed"
        late = threads.submit(db.cache.fetch, "key", load)
        time.sleep(0.05)
        go_on.set()
        assert early.result(10) == "a1"
        assert late.result(10) == "changed"


def test_a_key_that_cannot_be_one_is_refused(db: Door) -> None:
    with pytest.raises(UsageError, match="cannot be a key"):
        db.call(lambda each: each.cache.fetch(["a", "list"], authors))


def test_when_the_one_that_fetches_fails_the_next_tries(url: URL) -> None:
    with Database(url, cache=MemoryCache()) as db, ThreadPoolExecutor(8) as threads:
        calls = []

        def load(session: Any) -> int:
            calls.append(1)
            time.sleep(0.05)
            if len(calls) == 1:
                raise ValueError("the first")
            return 5

        def ask(_: int) -> int | str:
            try:
                return db.cache.fetch("key", load)
            except ValueError as error:
                return str(error)

        assert sorted(map(str, threads.map(ask, range(8)))) == ["5"] * 7 + ["the first"]
        assert len(calls) == 2


def test_an_old_value_is_fetched_anew(opened: Callable[..., Door]) -> None:
    read = Reader(opened(cache=MemoryCache(ttl="50ms", jitter=0)), lambda session: 5)
    read()
    time.sleep(0.06)
    assert not read.kept
    read()
    assert read.loads == 2


def test_a_stale_value_is_served_while_one_fetches_it_anew(opened: Callable[..., Door]) -> None:
    door = opened(cache=MemoryCache(ttl="50ms", stale="10s", jitter=0))
    values = iter(range(100))
    read = Reader(door, lambda session: next(values))
    assert read() == 0
    time.sleep(0.06)
    assert read() == 0
    eventually(lambda: read() > 0)
    assert stats(door).stale_hits >= 1


def test_shapes_count_for_the_bound_when_they_are_made(url: URL) -> None:
    with Database(url, cache=MemoryCache()) as db:
        db.cache.fetch("key", authors)
        before = db.cache.stats().bytes
        db.cache.fetch("key", authors, form=shapes)
        assert db.cache.stats().bytes > before


def test_what_is_larger_than_the_cache_is_not_kept(opened: Callable[..., Door]) -> None:
    door = opened(cache=MemoryCache(max_bytes=2000))
    read = Reader(door, lambda session: "x" * 4000)
    assert read() == read()
    assert read.loads == 2
    assert (stats(door).oversized, stats(door).bytes) == (2, 0)


def test_a_deep_value_is_kept_with_all_that_was_loaded(db: Door) -> None:
    deep = lambda session: session.scalars(select(Author).options(selectinload(Author.books)).order_by(Author.id)).all()  # noqa: E731
    read = Reader(db, deep)
    read()
    found = read()
    assert [book.title for book in found[0].books] == ["b1.1", "b1.2"]
    assert found[0].books[0].author is found[0]
    assert read.loads == 1
