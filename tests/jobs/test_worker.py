"""Workers as processes: they stop when told, and what they leave undone goes on elsewhere."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from dal import Database
from tests.jobs import work
from tests.jobs.conftest import Start
from tests.jobs.test_jobs import until

KILL_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def test_a_worker_ends_with_sigterm(db: Database, dal_worker: Start) -> None:
    worker = dal_worker()
    assert db.jobs.submit(work.add, 1, 2).wait(timeout=30) == 3
    worker.send_signal(signal.SIGTERM)
    output, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0, output
    assert "running jobs of" in output
    with db.session() as session:
        assert session.scalar(text("SELECT count(*) FROM procrastinate_workers")) == 0


def test_a_stopping_worker_gives_back_what_looks_whether_to_end(db: Database, dal_worker: Start, tmp_path: Path) -> None:
    job = db.jobs.using(retries=0).submit(work.wait_for_file, str(tmp_path / "go"))
    worker = dal_worker()
    until(lambda: job.progress().state == "running")
    worker.send_signal(signal.SIGINT)
    worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert job.progress().state == "waiting"
    (tmp_path / "go").write_text("went")
    dal_worker()
    assert job.wait(timeout=30) == "went"


def test_a_deaf_job_is_left_to_another_worker(db: Database, dal_worker: Start, tmp_path: Path) -> None:
    job = db.jobs.submit(work.sleep_deaf, str(tmp_path / "began"))
    worker = dal_worker("--grace", "100ms")
    until((tmp_path / "began").exists)
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=30)
    assert worker.returncode == 75
    dal_worker()
    (tmp_path / "began").unlink()
    until((tmp_path / "began").exists)
    assert job.progress().attempts == 1


def test_the_job_of_a_killed_worker_goes_on_at_once(db: Database, dal_worker: Start, tmp_path: Path) -> None:
    job = db.jobs.using(retries=0).submit(work.die_once, str(tmp_path / "died"))
    first = dal_worker()
    first.communicate(timeout=30)
    assert first.returncode == -signal.SIGKILL
    dal_worker()
    began = time.monotonic()
    assert job.wait(timeout=20) == "alive"
    # Not after a missing heartbeat of half a minute.
    assert time.monotonic() - began < 15


def test_a_called_off_job_of_a_killed_worker_is_over(db: Database, dal_worker: Start, tmp_path: Path) -> None:
    job = db.jobs.submit(work.sleep_deaf, str(tmp_path / "began"))
    worker = dal_worker()
    until((tmp_path / "began").exists)
    job.cancel()
    worker.kill()
    dal_worker()
    until(lambda: job.progress().state == "cancelled")


def test_a_worker_that_lost_its_lock_does_not_end_a_job_that_was_taken(
    db: Database, dal_worker: Start, tmp_path: Path, dal_database: URL
) -> None:
    go = tmp_path / "go"
    job = db.jobs.submit(work.wait_for_file, str(go))
    with db.worker():
        until(lambda: job.progress().state == "running")
        _strike_off(dal_database)
        dal_worker()
        until(lambda: job.progress().attempts == 1 and job.progress().state == "running")
        go.write_text("went")
        assert job.wait(timeout=30) == "went"
    with db.session() as session:
        ends = session.scalar(text("SELECT count(*) FROM procrastinate_events WHERE type = 'succeeded'"))
    assert ends == 1


def _strike_off(url: URL) -> None:
    """Do what a worker does that takes another for dead."""
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        connection.execute("SELECT procrastinate_retry_job_v2(id, now(), NULL, NULL, NULL) FROM procrastinate_jobs")
        connection.execute("UPDATE procrastinate_jobs SET scheduled_at = now() + interval '1 s'")


def test_a_worker_outlives_its_connections(db: Database, dal_database: URL, admin: Callable[[str], None]) -> None:
    with db.worker():
        assert db.jobs.submit(work.add, 1).wait(timeout=20) == 1
        for _ in range(3):
            admin(KILL_ALL)
            assert db.jobs.submit(work.add, 2).wait(timeout=30) == 2


@pytest.fixture
def admin(dal_database: URL) -> Callable[[str], None]:
    def run(statement: str) -> None:
        conninfo = dal_database.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(statement)

    return run
