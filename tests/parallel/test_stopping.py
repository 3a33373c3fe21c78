"""A scan that ends early leaves nothing behind: no thread, no process, no statement on the server."""

from __future__ import annotations

import asyncio
import multiprocessing
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
from sqlalchemy import Integer, String, case, cast, func, select, type_coerce
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from dal import AsyncDatabase, Database, PartFailed, UsageError, WorkerLost
from tests.database.doors import AsyncDoor, Door, SyncDoor
from tests.parallel.conftest import POOL
from tests.parallel.tables import Sale, count, die, fail_late, odd, unpicklable, where


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert _soon(lambda: not _workers() and not multiprocessing.active_children()), (
        _workers(),
        multiprocessing.active_children(),
    )


def _workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dal-parallel")]


def _soon(met: Callable[[], bool], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not met() and time.monotonic() < until:
        time.sleep(0.02)
    return met()


@pytest.mark.parametrize("processes", [False, True])
def test_the_first_error_stops_all_and_is_told_with_its_part(door: Door, processes: bool) -> None:
    def call(db: Any) -> Any:
        return db.parallel(select(Sale), by=Sale.id, workers=2, parts=10, processes=processes).map(fail_late).list()

    with pytest.raises(PartFailed, match=r"part \d+ of 10 \(sales.id > \d+.*LookupError: nobody knows") as raised:
        door.call(call)
    assert isinstance(raised.value.__cause__, LookupError)
    assert raised.value.part.number >= 7
    assert "call the function with the rows of this part" in raised.value.hint
    if processes:
        assert "fail_late" in raised.value.__cause__.__notes__[0]


def test_an_error_in_a_statement_is_told_with_its_part(db: Database) -> None:
    with pytest.raises(PartFailed, match="division by zero") as raised:
        db.parallel(select(1 / (Sale.id - 90_000 * 100)), by=Sale.id, workers=3, parts=6).rows().list()
    assert isinstance(raised.value.__cause__, DBAPIError)
    assert "run the statement in a session" in raised.value.hint
    assert db.parallel(select(Sale), by=Sale.id).map(count).reduce(int.__add__) > 0


@pytest.mark.parametrize("processes", [False, True])
def test_leaving_the_loop_ends_it(db: Database, processes: bool) -> None:
    for _ in db.parallel(select(Sale), by=Sale.id, workers=2, parts=30, processes=processes).map(count):
        break
    assert db.pool.stats().in_use == 0


async def test_leaving_the_loop_ends_it_in_tasks(sales_url: URL) -> None:
    async with AsyncDatabase(sales_url, pool=POOL) as db:
        found = aiter(db.parallel(select(Sale), by=Sale.id, workers=2, parts=30).map(count))
        assert await anext(found) > 0
        await found.aclose()  # type: ignore[attr-defined]
        assert db.pool.stats().in_use == 0


async def test_a_cancelled_task_cancels_its_statements(sales_url: URL) -> None:
    async with AsyncDatabase(sales_url, pool=POOL) as db:
        scan = db.parallel(select(func.pg_sleep(30)).select_from(Sale), by=Sale.id, workers=3)
        task = asyncio.create_task(scan.map(count).list())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "dal-parallel"]
        assert db.pool.stats().in_use == 0
    assert _statements(sales_url) == 0


def test_an_error_cancels_the_statements_of_the_others(sales_url: URL, db: Database) -> None:
    def work(rows: list[Any]) -> None:
        raise LookupError

    quick_first = select(case((Sale.id > 1000, cast(func.pg_sleep(30), String))))
    began = time.monotonic()
    with pytest.raises(PartFailed):
        db.parallel(quick_first, by=Sale.id, workers=2, parts=500).map(work).list()
    assert time.monotonic() - began < 15
    assert _statements(sales_url) == 0


@pytest.mark.parametrize("work", [lambda rows: 1, "a method"])
def test_what_cannot_go_to_a_process_is_told_at_once(db: Database, work: Any) -> None:
    given: Any = db.session().scalars if work == "a method" else work
    with pytest.raises(UsageError, match="cannot be handed to another process") as raised:
        db.parallel(select(Sale), by=Sale.id, processes=True).map(given)
    assert "top of a module" in raised.value.hint


def test_a_type_that_cannot_go_to_a_process_is_told_at_once(db: Database) -> None:
    class Local(Integer):
        """Found nowhere by its name."""

    with pytest.raises(UsageError, match="the types of the columns"):
        db.parallel(select(type_coerce(Sale.id, Local())), by=Sale.id, processes=True)


def test_a_coroutine_function_needs_the_async_door(db: Database) -> None:
    async def work(rows: list[Any]) -> int:
        return len(rows)

    with pytest.raises(UsageError, match="coroutine function"):
        db.parallel(select(Sale), by=Sale.id).map(work)


def test_options_of_the_orm_and_several_classes_stay_here(db: Database) -> None:
    from dal import batched
    from tests.parallel.tables import Shop

    with pytest.raises(UsageError, match="options of the ORM"):
        db.parallel(select(Sale).options(batched()), by=Sale.id, processes=True)
    with pytest.raises(UsageError, match="several classes"):
        db.parallel(select(Sale, Shop).join(Sale.shop), by=Sale.id, processes=True)


@pytest.mark.parametrize(
    ("work", "kind", "said"),
    [
        (die, WorkerLost, "ended with code 3"),
        (odd, WorkerLost, "OddError: left and right"),
        (unpicklable, UsageError, "cannot be handed back"),
    ],
)
def test_what_goes_wrong_in_a_process(db: Database, work: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(PartFailed, match=said) as raised:
        db.parallel(select(Sale), by=Sale.id, workers=2, processes=True).map(work).list()
    assert isinstance(raised.value.__cause__, kind)


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 3}, {"workers": 2, "processes": True}])
@pytest.mark.parametrize("kind", [SyncDoor, AsyncDoor])
def test_a_database_that_is_closed_meanwhile(sales_url: URL, kind: Any, options: Any) -> None:
    door = kind(sales_url, POOL)
    # Few rows: the server goes on with the statement of a process that was ended until it has something to send.
    slow = select(cast(func.pg_sleep(3 if "processes" in options else 30), String)).select_from(Sale).where(Sale.id <= 16)
    scan = door.db.parallel(slow, by=Sale.id, split="hash", parts=4, **options)

    async def both() -> None:
        run = asyncio.create_task(scan.map(count).list())
        assert await asyncio.to_thread(_soon, lambda: _statements(sales_url) > 0, 30)
        await asyncio.wait_for(door.db.close(), 10)
        await run

    def close() -> None:
        _soon(lambda: _statements(sales_url) > 0, 30)
        began.append(time.monotonic())
        door.db.close()

    began: list[float] = []
    closer = threading.Thread(target=close)
    with pytest.raises(UsageError, match="the database was closed while a parallel scan ran") as raised:
        if kind is AsyncDoor:
            asyncio.run(both())
        else:
            closer.start()
            scan.map(count).list()
    if kind is SyncDoor:
        closer.join(10)
        assert time.monotonic() - began[0] < 9
    assert raised.value.hint
    assert _soon(lambda: _statements(sales_url) == 0, 20)
    with pytest.raises(UsageError, match="is closed"):
        door.db.parallel(select(Sale), by=Sale.id)


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 2}, {"workers": 2, "processes": True}])
def test_a_database_that_is_closed_between_two_results(sales_url: URL, options: Any, caplog: pytest.LogCaptureFixture) -> None:
    db = Database(sales_url, pool=POOL)
    found = iter(db.parallel(select(Sale), by=Sale.id, parts=40, ordered=False, **options).map(where))
    next(found)
    db.close()
    for _ in range(2):
        with pytest.raises(UsageError, match="was closed while a parallel scan ran"):
            next(found)
    # The pool waited for nobody.
    assert "while a connection was out" not in caplog.text


async def test_a_database_that_is_closed_between_two_results_of_tasks(sales_url: URL, caplog: pytest.LogCaptureFixture) -> None:
    db = AsyncDatabase(sales_url, pool=POOL)
    found = aiter(db.parallel(select(Sale), by=Sale.id, workers=2, parts=40, ordered=False))
    await anext(found)
    await db.close()
    with pytest.raises(UsageError, match="was closed while a parallel scan ran"):
        await anext(found)
    assert "while a connection was out" not in caplog.text


def test_a_function_that_is_at_work_when_the_database_is_closed(sales_url: URL) -> None:
    db = Database(sales_url, pool=POOL)
    entered, leave = threading.Semaphore(0), threading.Event()

    def work(rows: list[Any]) -> int:
        entered.release()
        leave.wait(30)
        return len(rows)

    found = iter(db.parallel(select(Sale), by=Sale.id, workers=2, parts=40).map(work))
    told: list[UsageError] = []

    def read() -> None:
        with pytest.raises(UsageError) as raised:
            next(found)
        told.append(raised.value)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert entered.acquire(timeout=30)
    threading.Timer(0.5, leave.set).start()
    db.close()
    reader.join(30)
    assert "was closed while a parallel scan ran" in str(told[0])


def test_two_threads_that_ask_one_scan(db: Database) -> None:
    entered, leave = threading.Event(), threading.Event()

    def work(rows: list[Any]) -> int:
        entered.set()
        leave.wait(30)
        return len(rows)

    found = iter(db.parallel(select(Sale), by=Sale.id, workers=2, parts=2).map(work))
    other = threading.Thread(target=list, args=(found,))
    other.start()
    assert entered.wait(30)
    with pytest.raises(UsageError, match="two at once ask a parallel scan") as raised:
        next(found)
    assert "one loop" in raised.value.hint
    leave.set()
    other.join(30)


_SCRIPT = """
import sys
from sqlalchemy import select
from dal import Database
from tests.parallel.tables import Sale, slow

if __name__ == "__main__":
    with Database(sys.argv[1]) as db:
        db.parallel(select(Sale), by=Sale.id, workers=2, processes=True, progress=print).map(slow).list()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_script_that_is_told_to_stop(sales_url: URL, tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    url = sales_url.update_query_dict({"application_name": f"stopped_{number.name}"})
    process = subprocess.Popen(
        [sys.executable, str(script), url.render_as_string(hide_password=False)],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert _soon(lambda: _connections(sales_url, f"stopped_{number.name}") >= 3, 30)
        process.send_signal(number)
        assert process.wait(15) != 0
        assert _soon(lambda: _connections(sales_url, f"stopped_{number.name}") == 0, 15)
    finally:
        process.kill()
        process.wait()


def test_a_script_without_a_main_guard_is_told(sales_url: URL, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT.replace('if __name__ == "__main__":', "if True:"))
    answer = subprocess.run(
        [sys.executable, str(script), sales_url.render_as_string(hide_password=False)],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert answer.returncode != 0
    assert 'below `if __name__ == "__main__":`' in answer.stderr


def test_a_function_typed_into_an_interpreter_is_told(sales_url: URL) -> None:
    code = (
        "import sys\nfrom sqlalchemy import select\nfrom dal import Database\nfrom tests.parallel.tables import Sale\n"
        "def work(rows): return 1\n"
        "Database(sys.argv[1]).parallel(select(Sale), by=Sale.id, processes=True).map(work)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, sales_url.render_as_string(hide_password=False)],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "hint: put the function into a file" in answer.stderr


def _connections(url: URL, name: str) -> int:
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        found = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [name]).fetchone()
    return int(found[0]) if found else 0


def _statements(url: URL) -> int:
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        others = "FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND datname = current_database()"
        found = connection.execute(f"SELECT count(*) {others} AND query LIKE '%pg_sleep%'").fetchone()
    return int(found[0]) if found else 0
