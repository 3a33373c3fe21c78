"""What a pipeline does with items: every one is stored or rejected, once, whoever does the work."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dal import Aggregate, AsyncPipeline, ConfigError, Pipeline, StageFailed, UsageError
from tests.pipeline.doors import run
from tests.pipeline.stages import BY_DIGIT, add, below_fifty, last_digit, number, pair, square, with_pid

Flow = Callable[..., Any]

DIGITS = [(digit, sum(range(digit, 1000, 10))) for digit in range(10)]


def test_every_stage_in_a_row(flow: Flow) -> None:
    stored: list[Any] = []
    source = [*map(str, range(100)), "bad"]
    report = run(flow(source).validate(number).transform(below_fifty).transform(square).aggregate(BY_DIGIT).store(stored))
    assert dict(stored) == _squares()
    assert [stage.name for stage in report.stages] == ["source", "validate", "transform", "transform 2", "aggregate", "store"]
    assert [stage.items for stage in report.stages] == [101, 101, 100, 50, 50, len(stored)]
    assert [stage.rejected for stage in report.stages] == [0, 1, 50, 0, 0, 0]
    # In the order in which they were refused: the last one of the source may come before one that is further on.
    (bad,) = (each for each in report.rejected if each.stage == "validate")
    assert (bad.item, "invalid literal" in bad.reason) == ("bad", True)
    assert sorted(each.item for each in report.rejected if each is not bad) == list(range(50, 100))
    assert report.complete
    assert report.ordered


def _squares() -> dict[int, int]:
    found: Counter[int] = Counter()
    for each in range(50):
        found[each * each % 10] += each * each
    return dict(found)


@pytest.mark.parametrize("processes", [False, True])
def test_one_worker_keeps_the_order_and_several_tell_that_they_do_not(flow: Flow, processes: bool) -> None:
    stored: list[int] = []
    report = run(flow(range(1000)).transform(square, processes=processes).store(stored))
    assert stored == [each * each for each in range(1000)]
    assert report.ordered
    stored.clear()
    report = run(flow(range(1000)).transform(square, workers=2, processes=processes, batch=10).store(stored))
    assert sorted(stored) == [each * each for each in range(1000)]
    assert not report.ordered
    assert "not in the order" in str(report)


def test_workers_are_threads_or_processes(flow: Flow) -> None:
    stored: list[Any] = []
    run(flow(range(200)).transform(with_pid, workers=2, processes=True, batch=5).store(stored))
    assert len({pid for _, pid in stored} - {os.getpid()}) == 2
    idents: set[int] = set()

    def note(item: int) -> int:
        idents.add(threading.get_ident())
        with_pid(item)
        return item

    run(flow(range(200)).transform(note, workers=3, batch=5).store(stored.extend))
    assert len(idents - {threading.get_ident()}) >= 3


@pytest.mark.parametrize("processes", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_aggregates_of_several_workers_are_put_together(flow: Flow, workers: int, processes: bool) -> None:
    stored: list[Any] = []
    run(flow(range(1000)).aggregate(BY_DIGIT, workers=workers, processes=processes, batch=7).store(stored))
    assert sorted(stored) == DIGITS


def test_after_an_aggregate_it_goes_on(flow: Flow) -> None:
    stored: list[Any] = []
    run(flow(range(1000)).aggregate(BY_DIGIT, batch=3).transform(lambda item: item[1]).store(stored, batch=2))
    assert stored == [total for _, total in DIGITS]


def test_a_step_or_a_finish_that_raises_rejects(flow: Flow) -> None:
    def finish(key: int, total: int) -> tuple[int, int]:
        if key == 3:
            raise ArithmeticError("no threes")
        return key, total

    stored: list[Any] = []
    odd = Aggregate(key=last_digit, init=int, step=add, finish=finish)
    report = run(flow([*range(1000), "x"]).aggregate(odd).store(stored))
    assert len(stored) == 9
    assert [(each.item, each.reason) for each in report.rejected] == [
        ("x", "TypeError: not all arguments converted during string formatting"),
        (3, "ArithmeticError: no threes"),
    ]


async def test_coroutine_functions_and_async_sources() -> None:
    async def source() -> AsyncIterator[int]:
        for each in range(500):
            if each % 100 == 0:
                await asyncio.sleep(0)
            yield each

    async def slowly(item: int) -> int:
        await asyncio.sleep(0)
        if item == 7:
            raise LookupError("seven")
        return -item

    stored: list[int] = []

    async def store(items: list[int]) -> None:
        await asyncio.sleep(0)
        stored.extend(items)

    report = await AsyncPipeline(source()).validate(slowly, workers=4, batch=10).store(store, batch=50).run()
    assert sorted(stored) == sorted(-each for each in range(500) if each != 7)
    assert [(each.item, each.reason) for each in report.rejected] == [(7, "LookupError: seven")]


@given(
    items=st.lists(st.integers(-1000, 1000), max_size=300),
    batches=st.tuples(*[st.integers(1, 120)] * 3),
    workers=st.tuples(*[st.integers(1, 3)] * 3),
    queue=st.none() | st.integers(1, 50),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_sizes_every_item_arrives_once(
    items: list[int], batches: tuple[int, int, int], workers: tuple[int, int, int], queue: int | None
) -> None:
    stored: list[int] = []
    lock = threading.Lock()

    def store(found: list[int]) -> None:
        assert 0 < len(found) <= batches[2]
        with lock:
            stored.extend(found)

    report = (
        Pipeline(items, queue=queue)
        .validate(below_fifty, batch=batches[0], workers=workers[0])
        .transform(square, batch=batches[1], workers=workers[1])
        .store(store, batch=batches[2], workers=workers[2], linger=0)
        .run()
    )
    assert Counter(stored) == Counter(item * item for item in items if item < 50)
    assert Counter(each.item for each in report.rejected) == Counter(item for item in items if item >= 50)
    assert report.read == report.stored + report.refused == len(items)
    assert all(stage.queue_peak <= (queue or 10**9) for stage in report.stages)


def test_an_empty_source(flow: Flow) -> None:
    stored: list[Any] = []
    report = run(flow([]).transform(square).aggregate(BY_DIGIT).store(stored))
    assert (stored, report.read, report.complete) == ([], 0, True)


def test_a_pipeline_can_be_run_again_and_continued_two_ways(flow: Flow) -> None:
    begun = flow(range(10)).transform(square)
    one: list[int] = []
    other: list[int] = []
    first, second = begun.store(one), begun.transform(square).store(other)
    run(first)
    run(first)
    run(second)
    assert len(one) == 20
    assert other == [each**4 for each in range(10)]


def test_stop_reads_no_more_and_lets_through_what_was_read(flow: Flow) -> None:
    def endless() -> Iterator[int]:
        yield from iter(int, 1)

    stored = [0]

    def store(items: list[int]) -> None:
        stored[0] += len(items)
        if stored[0] > 5000:
            pipeline.stop()

    pipeline = flow(endless()).transform(lambda item: item).store(store)
    report = run(pipeline)
    assert report.read == report.stored == stored[0] > 5000
    assert not report.complete


def test_rejects_go_to_a_function_all_of_them(flow: Flow) -> None:
    found: list[Any] = []
    report = run(flow(range(3000)).validate(below_fifty).store([].extend), rejects=found.append)
    assert len(found) == 2950
    assert len(report.rejected) == 1000
    assert report.refused == 2950


def test_stop_at_the_first_or_after_so_many(flow: Flow) -> None:
    with pytest.raises(StageFailed, match="'validate' failed: ValueError: 50 is too much") as raised:
        run(flow(range(3000)).validate(below_fifty, batch=10).store([].extend), on_error="stop")
    assert (raised.value.stage, raised.value.item) == ("validate", 50)
    assert isinstance(raised.value.__cause__, ValueError)
    assert not raised.value.report.complete
    assert 'run(on_error="reject")' in raised.value.hint
    with pytest.raises(StageFailed, match="more than 20 items were rejected; the last one: ValueError: 70 is too much"):
        run(flow(range(3000)).validate(below_fifty, batch=10).store([].extend), max_rejected=20)


@pytest.mark.parametrize(
    ("describe", "error", "said"),
    [
        (lambda flow: flow(7), UsageError, "7 is no source"),
        (lambda flow: flow("a path"), UsageError, "is no source"),
        (lambda flow: flow([]).validate(None), UsageError, "None is no function"),
        (lambda flow: flow([]).transform(square, workers=0), ConfigError, "workers: 0"),
        (lambda flow: flow([]).transform(square, batch=2.5), ConfigError, "batch: 2.5"),
        (lambda flow: flow([], queue=0), ConfigError, "queue: 0"),
        (lambda flow: flow([]).aggregate(square), UsageError, "is no Aggregate"),
        (lambda flow: flow([]).store(3), UsageError, "3 cannot store"),
        (lambda flow: flow([]).store([], after=[3]), UsageError, "no list of functions"),
        (lambda flow: flow([]).store([]).transform(square), UsageError, "comes after store"),
        (lambda flow: flow([]).transform(square, name="a").transform(square, name="a"), UsageError, "a stage 'a' already"),
        (lambda flow: flow([]).transform(lambda item: item, processes=True), UsageError, "cannot be handed to another process"),
        (lambda flow: run(flow([]).transform(square)), UsageError, "stores nothing"),
        (lambda flow: run(flow([]).store([]), on_error="ignore"), UsageError, "on_error='ignore'"),
        (lambda flow: run(flow([]).store([]), rejects=[]), UsageError, "is no function"),
        (
            lambda flow: flow([]).aggregate(Aggregate(key=last_digit, init=int, step=add, finish=pair), workers=2),
            UsageError,
            "a state of their own",
        ),
    ],
)
def test_what_cannot_run_is_told_before_it_runs(flow: Flow, describe: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as raised:
        describe(flow)
    assert getattr(raised.value, "hint", None)


def test_what_only_a_loop_can_do() -> None:
    async def work(item: int) -> int:
        return item

    async def source() -> AsyncIterator[int]:
        yield 1

    async def source_of_nothing() -> None:
        return None

    for describe in (
        lambda: Pipeline([1]).transform(work),
        lambda: Pipeline([1]).store(work),
        lambda: Pipeline(source()),
        lambda: Pipeline([1]).store([], after=[source_of_nothing]),
        lambda: AsyncPipeline([1]).transform(work, processes=True),
    ):
        with pytest.raises(UsageError):
            describe()


def test_a_check_that_says_true_or_forgets_to_return_is_told(flow: Flow) -> None:
    with pytest.raises(StageFailed, match="validate: <lambda> returned True") as raised:
        run(flow(range(5)).validate(lambda item: item < 10).store([]))
    assert "return the item to pass on" in raised.value.hint
    with pytest.raises(StageFailed, match="transform: <lambda> returned None"):
        run(flow(range(5)).transform(lambda item: None).store([]))
    stored: list[Any] = []
    run(flow([1, 2]).transform(lambda item: item > 1).store(stored))
    assert stored == [False, True]
