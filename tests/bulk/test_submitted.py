"""The futures of a BatchWriter are those of concurrent.futures, and threads that submit never meet at a lock for nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, InvalidStateError, as_completed
from concurrent.futures import wait as wait_for
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from dal import BatchWriter, Database
from dal.bulk.buffer import Entry
from dal.bulk.outcomes import Outcome
from dal.bulk.submitted import Submitted, begin, tell
from dal.errors import QueueFull, UsageError
from tests.bulk.models import City
from tests.bulk.test_batches import Held

THREADS = 8


def count(db: Database) -> int:
    with db.session() as session:
        return session.scalar(select(func.count()).select_from(City)) or 0


def at_once(work: Callable[[int], object]) -> None:
    gate = threading.Barrier(THREADS)

    def run(number: int) -> None:
        gate.wait(60)
        work(number)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def made(number: int) -> tuple[threading.Lock, list[Submitted[str]], list[Entry]]:
    lock = threading.Lock()
    futures: list[Submitted[str]] = [Submitted(lock) for _ in range(number)]
    return lock, futures, [Entry(None, future, "a", 0.0) for future in futures]


def test_what_can_be_asked_of_a_future() -> None:
    lock, (one, two, three), entries = made(3)
    called: list[Future[str]] = []
    assert (one.done(), one.running(), one.cancelled()) == (False, False, False)
    two.add_done_callback(called.append)
    assert three.cancel()
    assert [entry.future for entry in begin(entries, lock)] == [one, two]
    assert (one.running(), three.cancelled(), three.done()) == (True, True, True)
    assert not two.cancel()
    tell(entries[:2], [Outcome("row"), Outcome(error=ValueError("bad"))], lock)
    assert (one.result(0), one.exception(0), one.done(), one.running()) == ("row", None, True, False)
    assert isinstance(two.exception(0), ValueError)
    with pytest.raises(ValueError, match="bad"):
        two.result(0)
    with pytest.raises(CancelledError):
        three.result(0)
    one.add_done_callback(called.append)
    assert called == [two, one]
    with pytest.raises(InvalidStateError):
        one.set_result("another")
    assert "finished returned str" in repr(one)
    with pytest.raises(AttributeError, match="no attribute 'row'"):
        one.row  # type: ignore[attr-defined]


def test_an_item_of_which_nothing_was_asked_has_no_condition() -> None:
    lock, (one, two), entries = made(2)
    assert not two.cancelled()
    tell(begin(entries, lock), [Outcome("a"), Outcome("b")], lock)
    assert (one.result(), two.result()) == ("a", "b")
    assert ("_condition" in vars(one), "_condition" in vars(two)) == (False, True)


def test_waiting_for_several_that_come_later() -> None:
    lock, futures, entries = made(6)
    begin(entries, lock)
    seen: list[Future[str]] = []
    thread = threading.Thread(target=lambda: seen.extend(as_completed(futures, 60)))
    thread.start()
    tell(entries[:2], [Outcome("a"), Outcome(error=ValueError())], lock)
    done, left = wait_for(futures, 60, FIRST_COMPLETED)
    assert (done, left) == (set(futures[:2]), set(futures[2:]))
    tell(entries[2:], [Outcome("c")] * 4, lock)
    thread.join(60)
    assert set(seen) == set(futures)


def test_threads_that_wait_for_items_of_several_writers_do_not_lock_each_other_out() -> None:
    """`wait` and `as_completed` take the conditions of all futures in one order: none may share its lock with another."""
    batches = [made(40) for _ in range(6)]
    plain: list[Future[str]] = [Future() for _ in range(40)]
    everything = [*plain, *(future for _, futures, _ in batches for future in futures)]

    def work(number: int) -> None:
        if number < 3:
            for lock, _, entries in batches[number * 2 : number * 2 + 2]:
                for start in range(0, 40, 4):
                    some = entries[start : start + 4]
                    tell(begin(some, lock), [Outcome("a")] * 4, lock)
        elif number == 3:
            for future in plain:
                future.set_result("a")
        elif number % 2:
            assert not wait_for(everything[number::2], 60).not_done
        else:
            assert len(list(as_completed(everything[number::3], 60))) == len(everything[number::3])

    at_once(work)
    assert all(future.result(0) == "a" for future in everything)


def test_an_item_is_cancelled_or_told_and_never_both() -> None:
    lock, futures, entries = made(400)
    taken: list[Entry] = []
    cancelled: list[bool] = [False] * 400

    def work(number: int) -> None:
        if number == 0:
            for start in range(0, 400, 10):
                some = begin(entries[start : start + 10], lock)
                tell(some, [Outcome("a")] * len(some), lock)
                taken.extend(some)
        else:
            for at in range(number - 1, 400, THREADS - 1):
                cancelled[at] = futures[at].cancel()

    at_once(work)
    for future, was in zip(futures, cancelled, strict=True):
        assert future.cancelled() is was
    assert [entry.future for entry in taken] == [future for future in futures if not future.cancelled()]
    assert all(entry.future.result(0) == "a" for entry in taken)


def test_as_completed_and_callbacks_of_a_writer(pg: Database) -> None:
    told: list[Future[City]] = []
    with BatchWriter(pg, City, size=7, interval=600) as writer:
        futures = [writer.submit(City(name=f"{n % 30}")) for n in range(35)]
        for future in futures[::5]:
            future.add_done_callback(told.append)
        found = list(as_completed(futures, 60))
    assert set(found) == set(futures)
    assert set(told) == set(futures[::5])
    assert [n for n, future in enumerate(futures) if isinstance(future.exception(), IntegrityError)] == [30, 31, 32, 33, 34]
    assert count(pg) == 30


def test_a_callback_may_submit(pg: Database) -> None:
    more: list[Future[City]] = []
    with BatchWriter(pg, City, interval=600) as writer:
        first = writer.submit(City(name="Oslo"))
        first.add_done_callback(lambda _: more.append(writer.submit(City(name="Bergen"))))
        assert first.result(60).name == "Oslo"
        writer.flush(60)
        writer.flush(60)
        assert more[0].result(60).name == "Bergen"


@pytest.mark.parametrize("full", ["raise", "drop"])
def test_no_more_than_there_is_room_for_from_many_threads(pg: Database, full: Any) -> None:
    held = Held(pg)
    admitted: list[Future[City]] = []
    refused: list[object] = []
    with BatchWriter(held, City, size=10, capacity=50, full=full) as writer:

        def work(number: int) -> None:
            for n in range(20):
                try:
                    future = writer.submit(City(name=f"{number} {n}"))
                except QueueFull as error:
                    refused.append(error)
                else:
                    (refused if future.done() else admitted).append(future)

        at_once(work)
        assert (len(admitted), len(refused)) == (50, THREADS * 20 - 50)
        assert writer.stats().waiting == 50
        held.go.set()
    assert all(future.result(0).id for future in admitted)
    assert count(pg) == 50


def test_many_threads_that_are_held_back(pg: Database) -> None:
    most = 0
    with BatchWriter(pg, City, size=5, capacity=10, interval=600) as writer:

        def work(number: int) -> None:
            nonlocal most
            for n in range(30):
                writer.submit(City(name=f"{number} {n}"))
                most = max(most, writer.stats().waiting)

        at_once(work)
        writer.flush(60)
        assert writer.stats().written == THREADS * 30
    assert most <= 10


def test_closing_while_threads_submit_loses_nothing(pg: Database) -> None:
    """An item is taken, and written, or its submitter is told that the writer is closed."""
    for turn in range(10):
        writer = BatchWriter(pg, City, size=20, capacity=40, interval=600)
        futures: list[Future[City]] = []
        before = count(pg)

        def work(number: int, turn: int = turn, writer: BatchWriter[City] = writer, futures: Any = futures) -> None:
            if number == 0:
                while len(futures) < 50:
                    threading.Event().wait(0.0005)
                writer.close(60)
                return
            for n in range(10_000):
                try:
                    futures.append(writer.submit(City(name=f"{turn} {number} {n}")))
                except UsageError:
                    return
            raise AssertionError("it was never closed")

        at_once(work)
        assert all(future.result(0).id for future in futures)
        assert count(pg) - before == len(futures)
        assert writer.stats().waiting == 0
