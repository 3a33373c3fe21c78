"""A load that is interrupted at any moment goes on where it ended: nothing is lost, nothing is doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import URL

from dal import BulkWriter, Checkpoint, Database, FileProgress
from dal.bulk.checkpoint import CHECKPOINTS
from dal.errors import FileError, RowError, UsageError
from tests.bulk.conftest import made
from tests.bulk.models import Guest

ROWS = 60_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of several parts, with a bad line here and there."""
    path = tmp_path_factory.mktemp("files") / "guests.csv"
    lines = [f'{n},"{"x" * 30},{n}",{"old" if n % 9_000 == 0 else n % 100}' for n in range(1, ROWS + 1)]
    path.write_text("id,email,age\n" + "\n".join(lines) + "\n")
    assert path.stat().st_size > 2_000_000
    return path


def state(db: Database) -> Any:
    with db.session() as session:
        return session.execute(select(CHECKPOINTS)).one()


def whole(db: Database) -> None:
    with db.session() as session:
        ids = set(session.scalars(select(Guest.id)))
        assert session.scalar(select(func.count()).select_from(Guest)) == len(ids)
        assert ids == {n for n in range(1, ROWS + 1) if n % 9_000}
    found = state(db)
    assert (found.rows, found.rejected, found.finished, found.line) == (ROWS - 6, 6, True, ROWS + 2)


class Stop(Exception):
    pass


def test_it_goes_on_where_it_ended(pg: Database, path: Path) -> None:
    calls = 0

    def stop(progress: FileProgress) -> None:
        nonlocal calls
        calls += 1
        raise Stop

    bulk = BulkWriter(pg, Guest)
    rejected: list[Any] = []
    for _ in range(10):
        try:
            bulk.load(path, resume="guests", on_error="reject", rejects=rejected.append, progress=stop)
            break
        except Stop:
            assert not state(pg).finished
    assert calls > 1
    whole(pg)
    assert [each.line for each in rejected] == [n * 9_000 + 1 for n in range(1, 7)]
    assert [each.position for each in rejected] == [n * 9_000 - 1 for n in range(1, 7)]


def test_what_is_finished_is_not_done_again(pg: Database, path: Path) -> None:
    bulk = BulkWriter(pg, Guest)
    assert bulk.load(path, resume="guests", on_error="reject").inserted == ROWS - 6
    assert bulk.load(path, resume="guests", on_error="reject").inserted == 0
    whole(pg)
    with pg.transaction() as session:
        Checkpoint("guests").forget(session)
        session.execute(text("TRUNCATE guests"))
    assert bulk.load(path, resume="guests", on_error="reject").inserted == ROWS - 6


def test_a_bad_row_leaves_what_stands_before_its_part(pg: Database, path: Path) -> None:
    bulk = BulkWriter(pg, Guest)
    with pytest.raises(RowError, match="line 9001 .* what stands before its part is written"):
        bulk.load(path, resume="guests")
    assert state(pg).position == 0


@pytest.mark.parametrize("options", [{}, {"validate": dict}, {"key": ["id"]}], ids=["raw", "typed", "upsert"])
def test_every_route(pg: Database, path: Path, options: dict[str, Any]) -> None:
    def stop(progress: FileProgress) -> None:
        raise Stop

    bulk = BulkWriter(pg, Guest)
    for _ in range(10):
        try:
            bulk.load(path, resume="guests", on_error="reject", progress=stop, **options)
            break
        except Stop:
            pass
    whole(pg)


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet", "arrow"])
def test_every_format(pg: Database, tmp_path: Path, suffix: str) -> None:
    bulk = BulkWriter(pg, Guest)
    bulk.insert([{"id": n, "email": f"{'x' * 40}{n}"} for n in range(30_000)])
    path = tmp_path / f"guests.{suffix}"
    assert bulk.dump(select(Guest), path) == 30_000
    with pg.transaction() as session:
        session.execute(text("TRUNCATE guests"))

    def stop(progress: FileProgress) -> None:
        raise Stop

    tries = 0
    while tries < 20:
        tries += 1
        try:
            bulk.load(path, resume="guests", progress=stop)
            break
        except Stop:
            pass
    assert tries > 2
    with pg.session() as session:
        assert session.scalar(select(func.count()).select_from(Guest)) == 30_000
    assert state(pg).rows == 30_000


def test_another_file_of_the_same_name(pg: Database, path: Path, tmp_path: Path) -> None:
    bulk = BulkWriter(pg, Guest)
    bulk.load(path, resume="guests", on_error="reject")
    other = tmp_path / "other.csv"
    other.write_text("id,email\n1,a\n")
    with pytest.raises(FileError, match="of another file"):
        bulk.load(other, resume="guests")


def test_what_cannot_be_resumed_is_told(pg: Database, path: Path) -> None:
    with pg.session() as session, pytest.raises(UsageError, match="in the caller's transaction"):
        BulkWriter(session, Guest).load(path, resume="guests")
    with pytest.raises(UsageError, match="a checkpoint's name"):
        BulkWriter(pg, Guest).load(path, resume="")


def test_two_at_once_do_not_both_write(pg: Database, path: Path) -> None:
    """The second goes on in the middle of the first one's part, which then finds that it has been overtaken."""
    bulk = BulkWriter(pg, Guest)
    overtaken: list[Any] = []

    def overtake(progress: FileProgress) -> None:
        if not overtaken:
            overtaken.append(BulkWriter(pg, Guest).load(path, resume="guests", on_error="reject"))

    with pytest.raises(UsageError, match="another process has gone on"):
        bulk.load(path, resume="guests", on_error="reject", progress=overtake)
    whole(pg)


LOAD = """
import sys
from sqlalchemy.engine import make_url
from dal import BulkWriter, Database
from tests.bulk.models import Guest
with Database(make_url(sys.argv[1])) as db:
    print("begun", flush=True)
    BulkWriter(db, Guest).load(sys.argv[2], resume="guests", on_error="reject")
"""


def killed(url: URL, path: Path, after: float) -> bool:
    """Load in a process of its own and kill that; tell whether it had ended by itself."""
    command = [sys.executable, "-c", LOAD, url.render_as_string(hide_password=False), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        try:
            return process.wait(after) == 0
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            return False


def test_a_process_that_is_killed(dal_database: URL, path: Path) -> None:
    with made(dal_database) as db:
        for after in (0.15, 0.3):
            killed(dal_database, path, after)
        assert killed(dal_database, path, 120)
        whole(db)


@pytest.mark.soak
def test_a_process_that_is_killed_again_and_again(dal_database: URL, path: Path) -> None:
    with made(dal_database) as db:
        for _ in range(10):
            end = time.monotonic() + 120
            kills = 0
            while not killed(dal_database, path, random.uniform(0.05, 0.6)):
                kills += 1
                assert time.monotonic() < end
            whole(db)
            with db.transaction() as session:
                Checkpoint("guests").forget(session)
                session.execute(text("TRUNCATE guests"))
