"""Functions as jobs: run, told, tried again, called off."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dal import AsyncDatabase, Database
from dal.errors import DeadlineExceeded, JobCancelled, JobFailed, UnsupportedError, UsageError
from dal.jobs import Job, current_job
from tests.jobs import work


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def test_a_job_runs_and_its_result_comes_back(db: Database) -> None:
    job = db.jobs.submit(work.add, 40, other=2)
    assert job.progress().state == "waiting"
    with db.worker():
        assert job.wait(timeout="20s") == 42
    assert job.progress().state == "done"
    assert db.jobs.get(job.id) == job


def test_a_coroutine_function_is_a_job_too(db: Database) -> None:
    with db.worker():
        assert db.jobs.submit(work.add_slowly, 1, 2).wait(timeout=20) == 3


def test_a_job_has_the_workers_database(db: Database) -> None:
    with db.worker():
        assert db.jobs.submit(work.read_with_the_workers_database).wait(timeout=20) == 42


def test_progress_is_read_from_anywhere(db: Database, dal_database: URL) -> None:
    job = db.jobs.submit(work.count_to, 7)
    with db.worker():
        job.wait(timeout=20)
    with Database(dal_database) as elsewhere:
        progress = elsewhere.jobs.get(job.id).progress()
    assert (progress.state, progress.done, progress.total) == ("done", 7, 7)


def test_done_is_told(db: Database) -> None:
    told: list[Job[int]] = []
    ready = threading.Event()

    def notify(job: Job[int]) -> None:
        told.append(job)
        ready.set()

    job = db.jobs.submit(work.add, 1)
    job.on_done(notify)
    with db.worker():
        assert ready.wait(20)
    ready.clear()
    job.on_done(notify)
    assert ready.wait(20), "it is over, and so it is told at once"
    assert told == [job, job]


def test_a_job_of_a_transaction_is_there_when_it_commits(db: Database) -> None:
    with db.session() as session:
        gone = db.jobs.using(session=session).submit(work.add, 1)
        session.rollback()
        there = db.jobs.using(session=session).submit(work.add, 2)
        with pytest.raises(UsageError, match="no job"):
            there.progress()
        session.commit()
    with pytest.raises(UsageError, match="no job"):
        gone.progress()
    assert there.progress().state == "waiting"


def test_a_job_of_a_unit_of_work_is_there_when_it_commits(db: Database) -> None:
    @db.transactional
    def order(session: Session, fails: bool) -> Job[int]:
        job = db.jobs.submit(work.add, 1)
        if fails:
            raise LookupError("sold out")
        return job

    db.jobs.prepare()
    with pytest.raises(LookupError):
        order(True)
    assert db.jobs.list() == []
    assert order(False).progress().state == "waiting"


def test_a_failed_job_is_tried_again(db: Database, tmp_path: Path) -> None:
    job = db.jobs.using(retries=2, retry_delay="10ms").submit(work.fail_until, str(tmp_path / "calls"), 2)
    with db.worker():
        assert job.wait(timeout=20) == 3
    assert job.progress().attempts == 3


def test_a_job_that_fails_for_good_says_why(db: Database) -> None:
    job = db.jobs.using(retries=1, retry_delay="10ms").submit(work.fail, "no such parcel")
    with db.worker(), pytest.raises(JobFailed, match=r"failed after 2 runs: LookupError: no such parcel") as caught:
        job.wait(timeout=20)
    assert "work.py" in caught.value.traceback
    assert job.progress().error == "LookupError: no such parcel"
    assert db.jobs.list("failed") == [job]
    assert job.retry()
    assert not job.retry()
    assert job.progress().state == "waiting"


def test_a_result_that_is_no_json_fails_the_job(db: Database) -> None:
    job = db.jobs.using(retries=0).submit(work.give_a_set)
    with db.worker(), pytest.raises(JobFailed, match="returned a set"):
        job.wait(timeout=20)


def test_a_waiting_job_is_called_off(db: Database) -> None:
    job = db.jobs.submit(work.add, 1)
    assert job.cancel()
    assert not job.cancel()
    with pytest.raises(JobCancelled):
        job.wait(timeout=20)


def test_a_running_job_is_called_off(db: Database, tmp_path: Path) -> None:
    job = db.jobs.submit(work.wait_for_file, str(tmp_path / "never"))
    with db.worker():
        until(lambda: job.progress().state == "running")
        assert job.cancel()
        with pytest.raises(JobCancelled):
            job.wait(timeout=20)


def test_a_wait_ends_in_time(db: Database) -> None:
    job = db.jobs.submit(work.add, 1)
    with pytest.raises(DeadlineExceeded, match="it is waiting") as caught:
        job.wait(timeout="50ms")
    assert "dal worker" in caught.value.hint


def test_later_and_by_priority(db: Database) -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    later = db.jobs.using(at=soon).submit(work.add, 1)
    low, high = db.jobs.submit(work.add, 2), db.jobs.using(priority=5).submit(work.add, 3)
    order: list[int] = []
    for job in (low, high):
        job.on_done(lambda job: order.append(job.id))
    with db.worker():
        low.wait(timeout=20)
        until(lambda: len(order) == 2)
    assert order == [high.id, low.id]
    assert later.progress().state == "waiting"


def test_a_worker_runs_the_queues_it_was_given(db: Database) -> None:
    mail, other = db.jobs.using(queue="mail").submit(work.add, 1), db.jobs.submit(work.add, 2)
    with db.worker(queues=["mail"]):
        assert mail.wait(timeout=20) == 1
    assert other.progress().state == "waiting"


def test_several_jobs_at_the_same_time(db: Database, tmp_path: Path) -> None:
    file = tmp_path / "go"
    jobs = [db.jobs.submit(work.wait_for_file, str(file)) for _ in range(3)]
    with db.worker(concurrency=3):
        until(lambda: all(job.progress().state == "running" for job in jobs))
        file.write_text("now")
        assert [job.wait(timeout=20) for job in jobs] == ["now"] * 3


def test_closing_ends_who_waits(dal_database: URL) -> None:
    db = Database(dal_database)
    job = db.jobs.submit(work.add, 1)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            job.wait()
        except UsageError as error:
            caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: bool(db.jobs.listener._waiting))
    db.close()
    waiting.join(20)
    assert "closed" in str(caught[0])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dal-")]


async def test_the_async_door(dal_database: URL, tmp_path: Path) -> None:
    async with AsyncDatabase(dal_database) as db, db.worker():
        job = await db.jobs.submit(work.add, 40, 2)
        assert await job.wait(timeout=20) == 42
        assert (await job.progress()).state == "done"
        assert await db.jobs.get(job.id) == job
        async with db.session() as session:
            inside = await db.jobs.using(session=session).submit(work.add_slowly, 1, 1)
            await session.commit()
        assert await inside.wait(timeout=20) == 2
        failed = await db.jobs.using(retries=0).submit(work.fail, "no")
        with pytest.raises(JobFailed, match="LookupError"):
            await failed.wait(timeout=20)
        assert await db.jobs.list("failed") == [failed]


@pytest.mark.parametrize(
    ("submit", "message"),
    [
        (lambda db: db.jobs.submit(lambda: 1), "inside a function|cannot import"),
        (lambda db: db.jobs.submit(work.add, {1}), "argument 1 of add .* a set is not JSON"),
        (lambda db: db.jobs.submit(work.add, 1, other=float("nan")), "other= of add .* not a finite number"),
        (lambda db: db.jobs.submit(work.add, {1: 2}), "keys are not all texts"),
        (lambda db: db.jobs.submit(work.add, (1, 2)), "a tuple would come back as a list"),
        (lambda db: db.jobs.submit(work.add, "a\0b"), "NUL"),
        (lambda db: db.jobs.using(at=dt.datetime(2030, 1, 1)).submit(work.add, 1), "no time zone"),
        (lambda db: db.jobs.using(retries=-1), "negative"),
        (lambda db: db.jobs.get(10**9), "there is no job"),
        (lambda db: db.jobs.list("finished"), "no state of a job"),
        (lambda db: db.worker(concurrency=0), "less than 1"),
        (lambda db: db.worker(concurrency="2"), "no whole number"),
        (lambda db: db.worker(queues="mail"), "no list of names"),
        (lambda db: db.worker(queues=[]), "no list of names"),
        (lambda db: current_job(), "no job runs this function"),
        (lambda db: db.jobs.import_file(__file__, into=str), "not a mapped class"),
        (lambda db: db.jobs.import_file(None, into=work.Parcel), "no path"),
        (lambda db: db.jobs.import_file(__file__, into=work.Parcel, key="id"), "not a list"),
        (lambda db: db.jobs.import_file(__file__, into=work.Parcel, key=[]), "key is empty"),
        (lambda db: db.jobs.import_file(__file__, into=work.Parcel, key=[work.GoodParcel]), "not a column of Parcel"),
        (lambda db: db.jobs.import_file(__file__, into=work.Parcel, columns=["id", "wait"]), "not a column of Parcel"),
    ],
)
def test_bad_input_is_refused(db: Database, submit: Callable[[Database], object], message: str) -> None:
    db.jobs.prepare()
    with pytest.raises(UsageError, match=message) as caught:
        submit(db)
    assert caught.value.hint
    with db.session() as session:
        assert session.scalar(text("SELECT count(*) FROM procrastinate_jobs")) == 0


def test_closing_the_database_ends_its_workers(dal_database: URL, tmp_path: Path) -> None:
    with Database(dal_database) as db, db.worker():
        job = db.jobs.submit(work.count_after_a_moment, str(tmp_path / "began"))
        until((tmp_path / "began").exists)
        db.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "dal-worker"]
    with Database(dal_database) as again:
        assert again.jobs.get(job.id).wait(timeout=20) == 2, "what ran came to its end on an open database"


def test_who_is_to_be_told_is_called(db: Database) -> None:
    with db.worker() as worker:
        job = db.jobs.submit(work.add, 40, 2)
        with pytest.raises(UsageError, match="cannot be called"):
            job.on_done(None)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="started already"), worker:
            pass
        assert job.wait(timeout=20) == 42
    assert not [thread for thread in threading.enumerate() if thread.name == "dal-worker"]


def test_sqlite_has_no_queue() -> None:
    with Database("sqlite://") as db, pytest.raises(UnsupportedError, match="need PostgreSQL"):
        db.jobs.submit(work.add, 1)


@pytest.mark.parametrize("job", ["x", None, True, 1.5])
def test_an_id_that_is_none(db: Database, job: Any) -> None:
    with pytest.raises(UsageError, match="no id of a job"):
        db.jobs.get(job)
