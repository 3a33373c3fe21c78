"""However a run ends, nothing hangs, nothing is left, and what was accepted is written or told."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import URL
from sqlalchemy.util import greenlet_spawn

from dal import (
    AsyncDatabase,
    AsyncPipeline,
    BulkWriter,
    Database,
    Pipeline,
    PoolConfig,
    StageFailed,
    UsageError,
    WorkerLost,
    read_select,
)
from dal.pipeline.runtime import Tasks
from tests.pipeline.doors import run
from tests.pipeline.stages import Base, Item, die, endless, ids, sluggish, square

Flow = Callable[..., Any]


@pytest.fixture
def url(dal_database: URL) -> URL:
    with Database(dal_database) as db:
        Base.metadata.create_all(db.engine)
    return dal_database


def count(url: URL) -> int:
    with Database(url) as db, db.session() as session:
        return session.scalar(select(func.count()).select_from(Item)) or 0


def test_a_source_that_raises(flow: Flow) -> None:
    def source() -> Iterator[int]:
        yield from range(500)
        raise OSError("the cable is cut")

    stored: list[int] = []
    with pytest.raises(
        StageFailed, match="'source' failed: reading stopped after 500 items: OSError: the cable is cut"
    ) as raised:
        run(flow(source()).transform(square).store(stored))
    assert raised.value.report.read == 500
    assert "`__cause__` is its error" in raised.value.hint
    assert raised.value.report.stored == len(stored)


def test_an_error_while_the_source_is_waiting(flow: Flow) -> None:
    released = threading.Event()

    class Source:
        def __iter__(self) -> Iterator[int]:
            yield 1
            released.wait(60)

        def stop(self) -> None:
            released.set()

    def fail(items: list[int]) -> None:
        raise ConnectionError("gone")

    began = time.monotonic()
    with pytest.raises(StageFailed, match="gone"):
        run(flow(Source()).store(fail))
    assert time.monotonic() - began < 20
    assert released.is_set()


def test_a_process_that_dies(flow: Flow) -> None:
    with pytest.raises(StageFailed, match="ended with code 7") as raised:
        run(flow(range(100)).transform(die, processes=True, workers=2).store([].extend))
    assert isinstance(raised.value.__cause__, WorkerLost)


def test_a_process_that_is_at_work_when_another_stage_fails(flow: Flow) -> None:
    def fail(item: int) -> int:
        raise KeyError(item)

    began = time.monotonic()
    with pytest.raises(StageFailed, match="KeyError"):
        source = range(100)
        run(
            flow(source).transform(sluggish, batch=1).validate(fail).transform(endless, processes=True).store([]),
            on_error="stop",
        )
    assert time.monotonic() - began < 20


def test_a_database_that_is_closed_meanwhile(url: URL) -> None:
    db = Database(url, pool=PoolConfig(min_pool_size=1, max_pool_size=2))
    threading.Timer(0.5, db.close).start()
    with pytest.raises(StageFailed, match=r"is closed|connection") as raised:
        Pipeline(ids()).transform(sluggish, batch=10).store(BulkWriter(db, Item), batch=10).run()
    assert isinstance(raised.value.__cause__, Exception)
    assert raised.value.report.stored == count(url)


@pytest.mark.parametrize("statement", ["rows", "sleeping"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_database_that_is_closed_under_read_select(
    url: URL, kind: str, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = select(func.generate_series(1, 10_000).label("n"))
    at_work = threading.Event()
    read = numbers if statement == "rows" else select(func.pg_sleep(30))

    def work(item: Any) -> Any:
        at_work.set()
        time.sleep(0.01)
        return item

    if kind == "sync":
        db = Database(url)

        def close() -> None:
            _wait_for(at_work, url, read)
            db.close()

        closer = threading.Thread(target=close)
        closer.start()
        with pytest.raises(StageFailed, match="the database was closed while read_select ran") as raised:
            Pipeline(read_select(db, read, batch=100), queue=10).transform(work, batch=5).store([]).run()
        closer.join(30)
        assert not closer.is_alive()
    else:

        async def both() -> None:
            db = AsyncDatabase(url)
            source = read_select(db, read, batch=100)
            run = asyncio.create_task(AsyncPipeline(source, queue=10).transform(work, batch=5).store([]).run())
            await asyncio.to_thread(_wait_for, at_work, url, read)
            await db.close()
            await run

        with pytest.raises(StageFailed, match="the database was closed while read_select ran") as raised:
            asyncio.run(both())
    assert isinstance(raised.value.__cause__, UsageError)
    assert "stop reading" in raised.value.hint
    assert "while a connection was out" not in caplog.text


def _wait_for(at_work: threading.Event, url: URL, read: Any) -> None:
    if "pg_sleep" not in str(read):
        assert at_work.wait(30)
        return
    until = time.monotonic() + 30
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        while not connection.execute(asleep).fetchone() and time.monotonic() < until:
            time.sleep(0.02)


def test_a_loop_over_read_select_whose_database_is_closed(url: URL, caplog: pytest.LogCaptureFixture) -> None:
    db = Database(url)
    found = iter(read_select(db, select(func.generate_series(1, 100)), batch=10))  # type: ignore[arg-type]
    assert next(found) == 1
    db.close()
    with pytest.raises(UsageError, match="was closed while read_select ran"):
        next(found)
    assert "while a connection was out" not in caplog.text


async def test_a_task_that_is_cancelled() -> None:
    stored: list[Any] = []

    async def slowly(item: Any) -> Any:
        await asyncio.sleep(0.001)
        return item

    pipeline = AsyncPipeline(ids()).transform(slowly, workers=3).transform(sluggish).store(stored)
    task = asyncio.create_task(pipeline.run())
    await asyncio.sleep(0.4)
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 10
    assert len(asyncio.all_tasks()) == 1
    report = pipeline.report()
    assert report is not None
    assert not report.complete
    assert report.stored == len(stored)


async def test_what_a_thread_stores_when_the_task_is_cancelled_is_counted() -> None:
    storing, released = threading.Event(), threading.Event()
    stored: list[Any] = []

    def store(items: list[Any]) -> None:
        storing.set()
        assert released.wait(20)
        stored.extend(items)

    pipeline = AsyncPipeline(ids()).store(store, batch=10)
    task = asyncio.create_task(pipeline.run())
    await asyncio.to_thread(storing.wait, 20)
    task.cancel()
    await asyncio.sleep(0.05)
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    report = pipeline.report()
    assert report is not None
    assert report.stored == len(stored) == 10


async def test_what_a_thread_has_just_done_is_not_lost_when_its_task_is_cancelled() -> None:
    runtime = Tasks(1)
    begun, end = threading.Event(), threading.Event()

    def work(items: Any) -> str:
        begun.set()
        end.wait(20)
        return "stored"

    task = asyncio.create_task(greenlet_spawn(runtime.call, work, None))
    assert await asyncio.to_thread(begun.wait, 20)
    end.set()
    runtime._beside.shutdown()  # holds up the loop too: the thread is done before the task hears of it
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "stored"


def test_progress_that_raises_ends_it(flow: Flow) -> None:
    def tell(report: Any) -> None:
        raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough") as raised:
        run(flow(ids()).store(lambda items: None), progress=tell)
    assert re.search(r"the pipeline was stopped: [\d,]+ items read, [\d,]+ stored", raised.value.__notes__[0])


_SCRIPT = """
import itertools, sys
from dal import BulkWriter, Database, Pipeline
from tests.pipeline.stages import Item, ids, sluggish

if __name__ == "__main__":
    with Database(sys.argv[1]) as db:
        pipeline = Pipeline(ids()).transform(sluggish, batch=10, processes=True)
        pipeline = pipeline.store(BulkWriter(db, Item), batch=50)
        try:
            pipeline.run(progress=lambda report: print("at work", flush=True))
        except BaseException as error:
            print(type(error).__name__, error.__notes__[0], flush=True)
            raise
"""


_TASKS = (
    _SCRIPT.replace("import BulkWriter", "import AsyncPipeline, BulkWriter")
    .replace("Pipeline(ids", "AsyncPipeline(ids")
    .replace("pipeline.run(progress", "asyncio.run(pipeline.run(progress")
    .replace("flush=True))\n        except", "flush=True)))\n        except")
    .replace("import itertools", "import asyncio, itertools")
)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, _SCRIPT), (signal.SIGTERM, _SCRIPT), (signal.SIGKILL, _SCRIPT), (signal.SIGTERM, _TASKS)],
    ids=["SIGINT", "SIGTERM", "SIGKILL", "SIGTERM in tasks"],
)
def test_a_script_that_is_told_to_stop(url: URL, tmp_path: Path, number: signal.Signals, code: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(code)
    named = url.update_query_dict({"application_name": "flows"}).render_as_string(hide_password=False)
    process = subprocess.Popen(
        [sys.executable, str(script), named],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        while process.stdout.readline() == "at work\n" and count(url) < 100:
            pass
        children = _children(process.pid)
        process.send_signal(number)
        rest = process.communicate(timeout=20)[0]
        assert process.returncode == {"SIGINT": -2, "SIGTERM": 143, "SIGKILL": -9}[number.name]
    finally:
        process.kill()
        process.wait()
    if number is not signal.SIGKILL:
        kind = "KeyboardInterrupt" if number is signal.SIGINT else "SystemExit"
        told = re.search(rf"{kind} the pipeline was stopped: ([\d,]+) items read, ([\d,]+) stored", rest)
        assert told
        assert int(told[2].replace(",", "")) == count(url) >= 100
    until = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < until:
        time.sleep(0.05)
    assert children
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo) as connection:
        own = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flows' AND datname = current_database()"
        left = connection.execute(own).fetchone()
    assert left == (0,)


def _children(pid: int) -> list[str]:
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.is_dir():
        pytest.skip("there is no /proc here, where the children of a process are told")
    return [child for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def test_a_handler_of_the_application_is_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        seen: list[Any] = []
        Pipeline([1]).store(lambda items: seen.append(signal.getsignal(signal.SIGTERM))).run()
        assert seen == [signal.SIG_IGN]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        Pipeline([1]).store(seen).run()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_memory_stays_flat_whatever_the_source_gives(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import resource, sys\n"
        "from dal import Pipeline\n"
        "def peak(count):\n"
        "    source = ({'id': number, 'filler': 'x' * 500} for number in range(count))\n"
        "    Pipeline(source).transform(lambda row: {**row, 'more': 'y' * 500}).store(lambda rows: None).run()\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "small = peak(5_000)\n"
        "print(peak(200_000) - small)\n"
    )
    answer = subprocess.run(
        [sys.executable, str(script)],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    # 200,000 such rows are 250 MB.
    assert float(answer.stdout) < 30
