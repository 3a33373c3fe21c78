"""Imports as jobs: every row once and every bad row named, whatever happens to the workers."""

from __future__ import annotations

import gzip
import random
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from dal import Database
from dal.errors import FileError, JobFailed, UsageError
from tests.jobs import work
from tests.jobs.conftest import Start
from tests.jobs.test_jobs import until
from tests.jobs.work import Base, GoodParcel, Parcel


@pytest.fixture(autouse=True)
def parcels(db: Database) -> None:
    Base.metadata.create_all(db.engine)


def parcels_file(path: Path, rows: int, bad: set[int]) -> Path:
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("id,name,weight\n")
        for number in range(1, rows + 1):
            file.write(f"{number},parcel {number},{-1 if number in bad else number % 900 + 0.25}\n")
    return path


def test_an_import_comes_back_as_a_bulk_result(db: Database, tmp_path: Path) -> None:
    file = parcels_file(tmp_path / "parcels.csv.gz", 2_000, {7, 1_500})
    job = db.jobs.import_file(file, into=Parcel, validate=GoodParcel)
    with db.worker():
        result = job.wait(timeout=60)
    assert (result.inserted, len(result.rejected)) == (1_998, 2)
    assert result.seconds > 0
    assert [rejected.line for rejected in result.rejected] == [8, 1_501]
    assert all("weighs something" in rejected.reason for rejected in result.rejected)
    progress = job.progress()
    assert (progress.state, progress.done, progress.total, progress.rejected) == ("done", 2_000, 2_000, 2)


def test_an_upsert_and_a_constraint(db: Database, tmp_path: Path) -> None:
    file = parcels_file(tmp_path / "parcels.csv.gz", 100, set())
    with db.worker():
        assert db.jobs.import_file(file, into=Parcel).wait(timeout=60).inserted == 100
        again = db.jobs.import_file(file, into=Parcel, key=[Parcel.id]).wait(timeout=60)
        assert (again.inserted, again.unchanged) == (0, 100)
        refused = db.jobs.import_file(file, into=Parcel).wait(timeout=60)
        assert (refused.inserted, len(refused.rejected)) == (0, 100)
        assert {rejected.sqlstate for rejected in refused.rejected} == {"23505"}
        strict = db.jobs.using(retries=3).import_file(file, into=Parcel, on_error="raise")
        with pytest.raises(JobFailed, match="after 1 runs: RowConflict"):
            strict.wait(timeout=60)


def test_a_cancelled_import_keeps_its_parts_and_can_be_told(db: Database, tmp_path: Path) -> None:
    file = parcels_file(tmp_path / "parcels.csv.gz", 300_000, set())
    job = db.jobs.import_file(file, into=Parcel, validate=GoodParcel)
    with db.worker():
        until(lambda: job.progress().done > 0)
        job.cancel()
        until(lambda: job.progress().state == "cancelled")
    with db.session() as session:
        assert session.scalar(select(func.count()).select_from(Parcel)) == job.progress().done < 300_000


@pytest.mark.parametrize(
    ("kills", "rows"), [pytest.param(3, 100_000, id="a few"), pytest.param(100, 1_500_000, id="many", marks=pytest.mark.soak)]
)
def test_workers_are_killed_at_any_moment(db: Database, dal_worker: Start, tmp_path: Path, kills: int, rows: int) -> None:
    chance = random.Random(kills)
    bad = {chance.randint(1, rows) for _ in range(200)}
    job = db.jobs.using(retries=0).import_file(
        parcels_file(tmp_path / "parcels.csv.gz", rows, bad), into=Parcel, validate=GoodParcel
    )
    killed = 0
    while killed < kills and job.progress().state in {"waiting", "running"}:
        worker = dal_worker()
        until(lambda: job.progress().state != "waiting", 60)
        time.sleep(chance.uniform(0.0, 0.7))
        worker.kill()
        worker.communicate()
        killed += 1
    dal_worker()
    result = job.wait(timeout=600)
    assert (result.inserted, len(result.rejected)) == (rows - len(bad), len(bad))
    assert {(rejected.line or 0) - 1 for rejected in result.rejected} == bad
    with db.session() as session:
        count, total = session.execute(text("SELECT count(*), sum(id) FROM parcels")).one()
    assert (count, total) == (rows - len(bad), rows * (rows + 1) // 2 - sum(bad))
    assert killed == kills, "the import was over before all were killed: give it more rows"


def test_what_a_worker_could_not_find_is_refused(db: Database, tmp_path: Path) -> None:
    file = parcels_file(tmp_path / "parcels.csv.gz", 1, set())
    with pytest.raises(FileError, match="no file"):
        db.jobs.import_file(tmp_path / "nowhere.csv", into=Parcel)
    with pytest.raises(UsageError, match="validate="):
        db.jobs.import_file(file, into=Parcel, validate=lambda row: row)
    with pytest.raises(UsageError, match="on_error"):
        db.jobs.import_file(file, into=Parcel, on_error="skip")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not a column of Parcel"):
        db.jobs.import_file(file, into=Parcel, key=[work])
