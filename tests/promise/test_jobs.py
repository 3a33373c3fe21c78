"""API.md: background work, line by line."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from dal import Database
from tests.jobs.test_imports import parcels_file
from tests.jobs.work import Base
from tests.jobs.work import Parcel as Flight

pytest.importorskip("procrastinate", reason="procrastinate is not installed")


def test_an_import_in_the_background(dal_database: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parcels_file(tmp_path / "flights.csv.gz", 1_000, set())
    monkeypatch.chdir(tmp_path)
    told: list[object] = []
    notify = told.append
    with Database(dal_database) as db:
        Base.metadata.create_all(db.engine)
        # fmt: off
        job = db.jobs.import_file("flights.csv.gz", into=Flight, key=[Flight.id])
        with db.worker():
            job.progress(); job.wait(timeout=60); job.on_done(notify)  # noqa: E702
        # fmt: on
        progress = job.progress()
        assert (progress.state, progress.done, progress.total, progress.rejected) == ("done", 1_000, 1_000, 0)
        assert progress.rate >= 0
        assert job.wait().inserted == 1_000
    assert told == [job]
