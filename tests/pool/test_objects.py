"""ObjectPool without a database: fairness, sizes, lifetimes, failures, explanations."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from dal.errors import ConfigError, PoolTimeout, UsageError
from dal.events import Closed, Leaked, Opened, OpenFailed, Returned, TimedOut, Waited
from dal.pool import ObjectPool


class Thing:
    """Something expensive."""

    def __init__(self) -> None:
        self.good = True
        self.ended = False


def end(thing: Thing) -> None:
    thing.ended = True


def until(condition: Callable[[], Any], seconds: float = 3.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.002)


def test_lends_the_hottest_first() -> None:
    with ObjectPool(Thing, min_size=3, max_size=3) as pool:
        assert pool.warm_up()
        with pool.acquire() as first, pool.acquire() as second:
            pass
        with pool.acquire() as again:
            assert again is first
        assert second is not first


def test_reset_runs_at_return_and_a_failing_one_destroys() -> None:
    seen: list[Thing] = []

    def reset(thing: Thing) -> None:
        seen.append(thing)
        if len(seen) == 2:
            raise ValueError("dirty")

    with ObjectPool(Thing, reset=reset, destroy=end, max_size=1) as pool:
        with pool.acquire() as first:
            pass
        with pool.acquire() as second:
            pass
        with pool.acquire() as third:
            pass
        assert (first is second, second.ended, third is second) == (True, True, False)
        assert seen == [first, first, third]


def test_an_invalid_object_is_never_lent() -> None:
    with ObjectPool(Thing, validate=lambda thing: thing.good, destroy=end, max_size=1) as pool:
        with pool.acquire() as first:
            first.good = False
        with pool.acquire() as second:
            assert second is not first
        assert first.ended
        assert pool.stats().failed_checks == 1


def test_waiters_are_served_in_the_order_they_came() -> None:
    order: list[int] = []
    with ObjectPool(Thing, max_size=1) as pool:

        def borrow(number: int) -> None:
            with pool.acquire():
                order.append(number)

        def waits(borrowers: int) -> bool:
            return pool.stats().waiting == borrowers

        threads = [threading.Thread(target=borrow, args=(number,)) for number in range(8)]
        with pool.acquire():
            for number, thread in enumerate(threads):
                thread.start()
                until(partial(waits, number + 1))
        for thread in threads:
            thread.join()
    assert order == list(range(8))


def test_a_late_comer_does_not_overtake() -> None:
    with ObjectPool(Thing, max_size=1) as pool:
        got: list[str] = []

        def borrow() -> None:
            with pool.acquire():
                got.append("first")

        with pool.acquire():
            waiting = threading.Thread(target=borrow)
            waiting.start()
            until(lambda: pool.stats().waiting == 1)
        with pool.acquire():
            got.append("late")
        waiting.join()
    assert got == ["first", "late"]


def test_never_more_than_the_maximum() -> None:
    alive: set[int] = set()
    most = 0
    guard = threading.Lock()

    def make() -> Thing:
        nonlocal most
        thing = Thing()
        time.sleep(0.001)
        with guard:
            alive.add(id(thing))
            most = max(most, len(alive))
        return thing

    with ObjectPool(make, max_size=3) as pool:

        def work() -> None:
            for _ in range(50):
                with pool.acquire():
                    time.sleep(0.0001)

        threads = [threading.Thread(target=work) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stats = pool.stats()
    assert most <= 3
    assert (stats.acquired, stats.in_use, stats.waiting) == (600, 0, 0)


def test_a_making_is_dropped_when_the_demand_has_gone() -> None:
    made = threading.Semaphore(0)

    def make() -> Thing:
        made.acquire()
        return Thing()

    with ObjectPool(make, max_size=10) as pool:
        made.release()
        with pool.acquire():
            threads = [threading.Thread(target=lambda: pool.acquire().__enter__()) for _ in range(9)]
            for thread in threads:
                thread.daemon = True
                thread.start()
            until(lambda: pool.stats().waiting == 9 and pool.stats().opening == 4)
        for _ in range(4):
            made.release()
        until(lambda: pool.stats().waiting == 4)
        for _ in range(20):
            made.release()
        until(lambda: pool.stats().waiting == 0)
        assert pool.stats().opened <= 10
        pool._core.shelf.entries.clear()


def test_the_deadline_covers_making() -> None:
    with ObjectPool(lambda: time.sleep(0.5), max_size=1) as pool:
        began = time.monotonic()
        with pytest.raises(PoolTimeout), pool.acquire(timeout=0.05):
            pass
        assert time.monotonic() - began < 0.2
        until(lambda: pool.stats().opening == 0)


def test_a_failing_factory_fails_all_waiters_at_once() -> None:
    gate = threading.Event()

    def make() -> Thing:
        gate.wait()
        raise RuntimeError("no such thing")

    errors: list[BaseException] = []
    with ObjectPool(make, max_size=2, timeout=20) as pool:

        def borrow() -> None:
            try:
                with pool.acquire():
                    pass
            except RuntimeError as error:
                errors.append(error)

        threads = [threading.Thread(target=borrow) for _ in range(5)]
        for thread in threads:
            thread.start()
        until(lambda: pool.stats().waiting == 5)
        began = time.monotonic()
        gate.set()
        for thread in threads:
            thread.join()
        assert len(errors) == 5
        assert time.monotonic() - began < 1


def test_it_recovers_from_a_failing_factory() -> None:
    fail = [True]

    def make() -> Thing:
        if fail[0]:
            raise RuntimeError("not now")
        return Thing()

    with ObjectPool(make, max_size=2) as pool:
        with pytest.raises(RuntimeError, match="not now"), pool.acquire():
            pass
        fail[0] = False
        with pool.acquire() as thing:
            assert isinstance(thing, Thing)


def test_exhaustion_names_the_holders() -> None:
    pool = ObjectPool(Thing, max_size=2, name="things")

    def hold(release: threading.Event) -> None:
        with pool.acquire():
            release.wait()

    release = threading.Event()
    threads = [threading.Thread(target=hold, args=(release,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: pool.stats().in_use == 2)
    with pytest.raises(PoolTimeout) as caught, pool.acquire(timeout=0.05):
        pass
    release.set()
    for thread in threads:
        thread.join()
    pool.close()
    message = str(caught.value)
    assert "2 of at most 2 exist, 2 in use, 0 idle" in message
    assert message.count("test_objects.py:") == 2
    assert "in hold" in message
    assert caught.value.hint


def test_a_thread_that_waits_for_itself_is_told_at_once() -> None:
    with ObjectPool(Thing, max_size=2, timeout=20) as pool:
        began = time.monotonic()
        with pool.acquire(), pool.acquire(), pytest.raises(PoolTimeout, match="this one included"), pool.acquire():
            pass
        assert time.monotonic() - began < 1


def test_two_threads_that_wait_for_each_other_are_told() -> None:
    outcome: list[str] = []
    with ObjectPool(Thing, max_size=2, timeout=20) as pool:
        both = threading.Barrier(2)

        def twice() -> None:
            with pool.acquire():
                both.wait()
                try:
                    with pool.acquire():
                        outcome.append("got it")
                except PoolTimeout:
                    outcome.append("told")

        threads = [threading.Thread(target=twice) for _ in range(2)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < 2
    assert sorted(outcome) == ["got it", "told"]


def test_an_object_passed_to_another_thread_is_no_self_wait() -> None:
    with ObjectPool(Thing, max_size=1, timeout=5) as pool:

        def borrow() -> Any:
            lease = pool.acquire()
            lease.__enter__()
            return lease

        lease = borrow()
        back = threading.Timer(0.1, lease.__exit__, (None, None, None))
        back.start()
        with pool.acquire():
            pass
        back.join()


def test_idle_objects_go_from_the_cold_end_down_to_the_minimum() -> None:
    with ObjectPool(Thing, destroy=end, min_size=1, max_size=4, idle_timeout=0.1) as pool:
        leases = [pool.acquire() for _ in range(4)]
        things = [lease.__enter__() for lease in leases]
        for lease in reversed(leases):
            lease.__exit__(None, None, None)
        until(lambda: pool.stats().size == 1)
        assert [thing.ended for thing in things] == [False, True, True, True]


def test_lifetimes_end_with_jitter_and_are_renewed_in_the_background() -> None:
    with ObjectPool(Thing, destroy=end, min_size=4, max_size=4, max_lifetime=0.5) as pool:
        assert pool.warm_up()
        first = [entry.thing for entry in pool._core.shelf.entries]
        ends = {entry.retire_at for entry in pool._core.shelf.entries}
        assert len(ends) == 4
        until(lambda: pool.stats().size == 4 and all(thing.ended for thing in first))
        assert pool.stats().closed >= 4


def test_an_expired_object_is_not_lent() -> None:
    with ObjectPool(Thing, destroy=end, max_size=1) as pool:
        with pool.acquire() as first:
            pass
        next(iter(pool._core.shelf.entries)).expires = time.monotonic() - 1
        with pool.acquire() as second:
            assert second is not first
        assert first.ended


def test_idle_objects_are_validated_in_the_background() -> None:
    with ObjectPool(Thing, validate=lambda thing: thing.good, destroy=end, min_size=2, max_size=2, keepalive=0.05) as pool:
        assert pool.warm_up()
        bad = next(iter(pool._core.shelf.entries)).thing
        bad.good = False
        until(lambda: bad.ended)
        until(lambda: pool.stats().idle == 2)


def test_checking_keeps_the_order_of_the_stack() -> None:
    with ObjectPool(Thing, validate=lambda _: True, min_size=3, max_size=3, keepalive=0.03) as pool:
        assert pool.warm_up()
        with pool.acquire(), pool.acquire(), pool.acquire():
            pass
        order = [entry.thing for entry in pool._core.shelf.idle]
        time.sleep(0.15)
        until(lambda: len(pool._core.shelf.idle) == 3)
        assert [entry.thing for entry in pool._core.shelf.idle] == order


def test_suspend_holds_borrowers_back_and_resume_lets_them_go() -> None:
    with ObjectPool(Thing, max_size=1) as pool:
        with pool.acquire():
            pass
        pool.suspend()
        with pytest.raises(PoolTimeout, match="suspended"), pool.acquire(timeout=0.02):
            pass
        got = threading.Event()

        def borrow() -> None:
            with pool.acquire():
                got.set()

        thread = threading.Thread(target=borrow)
        thread.start()
        assert not got.wait(0.05)
        pool.resume()
        thread.join()
        assert got.is_set()


def test_resize_takes_effect_both_ways() -> None:
    with ObjectPool(Thing, destroy=end, min_size=1, max_size=1) as pool:
        pool.warm_up()
        pool.resize(min_size=3, max_size=4)
        until(lambda: pool.stats().size == 3)
        pool.resize(min_size=0, max_size=1)
        assert pool.stats().size == 1
        with pytest.raises(ConfigError, match="min_size"):
            pool.resize(min_size=3, max_size=2)


def test_drain_replaces_idle_and_borrowed_objects() -> None:
    with ObjectPool(Thing, destroy=end, max_size=2) as pool:
        with pool.acquire() as held:
            with pool.acquire() as idle:
                pass
            pool.drain()
            assert (idle.ended, held.ended) == (True, False)
        assert held.ended
        assert pool.stats().size == 0


def test_close_waits_refuses_and_destroys(caplog: pytest.LogCaptureFixture) -> None:
    pool = ObjectPool(Thing, destroy=end, max_size=2)
    lease = pool.acquire()
    thing = lease.__enter__()
    threading.Timer(0.05, lease.__exit__, (None, None, None)).start()
    pool.close(timeout=5)
    assert thing.ended
    with pytest.raises(UsageError, match="closed"), pool.acquire():
        pass
    assert not caplog.records


def test_close_names_what_is_still_out(caplog: pytest.LogCaptureFixture) -> None:
    pool = ObjectPool(Thing, destroy=end, max_size=2)
    lease = pool.acquire()
    thing = lease.__enter__()
    with caplog.at_level(logging.WARNING):
        pool.close(timeout=0.02)
    assert "test_close_names_what_is_still_out" in caplog.text
    lease.__exit__(None, None, None)
    assert thing.ended


def test_close_fails_those_who_wait() -> None:
    pool = ObjectPool(Thing, max_size=1)
    caught: list[BaseException] = []

    def borrow() -> None:
        try:
            with pool.acquire():
                pass
        except UsageError as error:
            caught.append(error)

    with pool.acquire():
        thread = threading.Thread(target=borrow)
        thread.start()
        until(lambda: pool.stats().waiting == 1)
        pool.close(timeout=0)
        thread.join()
    assert len(caught) == 1


def test_leaks_are_logged_once_with_the_line(caplog: pytest.LogCaptureFixture) -> None:
    facts: list[object] = []
    with ObjectPool(Thing, max_size=1, leak_threshold=0.05, observer=facts.append) as pool, caplog.at_level(logging.WARNING):
        with pool.acquire():
            time.sleep(0.3)
        assert pool.stats().leaks == 1
    assert caplog.text.count("may leak") == 1
    assert "test_leaks_are_logged_once_with_the_line" in caplog.text
    assert [fact.borrowed_at.split(" in ")[1] for fact in facts if isinstance(fact, Leaked)] == [
        "test_leaks_are_logged_once_with_the_line"
    ]


def test_observers_are_told_what_happens() -> None:
    facts: list[object] = []
    fail = [False]

    def make() -> Thing:
        if fail[0]:
            raise RuntimeError
        return Thing()

    pool = ObjectPool(make, max_size=1, observer=facts.append, name="seen")
    with pool.acquire(), pytest.raises(PoolTimeout):
        pool.take(0.01)
    pool.drain()
    fail[0] = True
    with pytest.raises(RuntimeError), pool.acquire():
        pass
    pool.close()
    kinds = [type(fact) for fact in facts]
    assert kinds == [Opened, Waited, TimedOut, Returned, Closed, OpenFailed]
    assert {getattr(fact, "pool", None) for fact in facts} == {"seen"}


def test_an_observer_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: object) -> None:
        raise ValueError("oops")

    with ObjectPool(Thing, max_size=1, observer=broken) as pool, pool.acquire() as thing:
        assert thing.good
    assert "oops" in caplog.text


def test_stats_split_the_time() -> None:
    def make() -> Thing:
        time.sleep(0.05)
        return Thing()

    with ObjectPool(make, max_size=1) as pool:
        with pool.acquire():
            time.sleep(0.03)
        time.sleep(0.04)
        stats = pool.stats()
    assert stats.waited_seconds == pytest.approx(0.05, abs=0.03)
    assert stats.connecting_seconds == pytest.approx(0.05, abs=0.03)
    assert stats.in_use_seconds == pytest.approx(0.03, abs=0.03)
    assert stats.idle_seconds == pytest.approx(0.04, abs=0.03)
    assert stats.wait.p50 == pytest.approx(0.05, abs=0.03)
    assert (stats.size, stats.idle, stats.opened, stats.acquired) == (1, 1, 1, 1)


def test_a_pool_that_nobody_uses_has_no_thread() -> None:
    before = threading.active_count()
    pool = ObjectPool(Thing, min_size=3, max_size=3)
    assert threading.active_count() == before
    pool.close()


def test_a_forgotten_pool_ends_its_thread() -> None:
    pool = ObjectPool(Thing, min_size=1, max_size=1, keepalive=0.05, name="forgotten")
    pool.warm_up()
    del pool
    gc.collect()
    until(lambda: not any(thread.name == "forgotten-keeper" for thread in threading.enumerate()))


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"min_size": -1}, "min_size"),
        ({"max_size": 0}, "max_size"),
        ({"min_size": 3, "max_size": 2}, "min_size"),
        ({"timeout": "soon"}, "timeout"),
        ({"max_size": True}, "max_size"),
        ({"reset": 5}, "reset"),
        ({"validate": True}, "validate"),
        ({"destroy": "close"}, "destroy"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        ObjectPool(Thing, **settings)


def test_an_object_returned_by_the_garbage_collector_under_the_lock_is_not_lost() -> None:
    """What a finalizer gives back while the pool holds its own lock must reach the waiter."""
    with ObjectPool(Thing, max_size=1, timeout=5) as pool:
        entry = pool.take(1)
        shelf = pool._core.shelf
        serve = shelf.serve
        handed: list[bool] = []

        def returned_in_between() -> None:
            if not handed:
                handed.append(True)
                pool.give_back(entry)
            serve()

        original = type(shelf).serve
        try:
            type(shelf).serve = lambda self: returned_in_between() if self is shelf else original(self)  # type: ignore[method-assign]
            serve = lambda: original(shelf)  # noqa: E731
            again = pool.take(1)
        finally:
            type(shelf).serve = original  # type: ignore[method-assign]
        assert again is entry
        pool.give_back(again)
