"""API.md, "Writing in bulk" and "Command line": files, run as written, with the flights."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import URL
from typer.testing import CliRunner

from dal import BulkWriter, Database
from dal.cli.app import app
from dal.demo.data import data_files
from dal.demo.models import Base, Flight
from tests.promise.conftest import POOL

LINES = 5_000


@pytest.fixture
def db(dal_database: URL) -> Iterator[Database]:
    with Database(dal_database, pool=POOL) as db:
        Base.metadata.create_all(db.engine)
        yield db


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the first flights in it: one of them bad."""
    monkeypatch.chdir(tmp_path)
    file = next(file for file in data_files() if file.table == "flights")
    with file.open() as source, gzip.open("flights.csv.gz", "wb") as packed:
        for number, line in enumerate(source):
            packed.write(line.replace(b",517,", b",late,") if number == 1 else line)
            if number == LINES:
                break
    return tmp_path


def test_load(db: Database, folder: Path) -> None:
    bulk = BulkWriter(db, Flight)
    result = bulk.load("flights.csv.gz", on_error="reject", progress=True)
    assert result.inserted == LINES - 1
    rejected = result.rejected[0]
    assert (rejected.line, rejected.value) == (2, "late")
    assert "invalid input syntax" in rejected.reason


@pytest.mark.parametrize("name", ["flights.csv", "flights.jsonl", "flights.parquet"])
def test_dump_is_the_way_back(db: Database, folder: Path, name: str) -> None:
    bulk = BulkWriter(db, Flight)
    bulk.load("flights.csv.gz", on_error="reject")
    before = db.run(lambda session: session.scalar(_HASH))
    assert bulk.dump(select(Flight), name) == LINES - 1
    db.run(lambda session: session.execute(text("TRUNCATE flights")))
    bulk.load(name)
    assert db.run(lambda session: session.scalar(_HASH)) == before


_HASH = text("SELECT md5(string_agg(f::text, '' ORDER BY id)) FROM flights f")


def test_import_and_export(db: Database, folder: Path) -> None:
    url = ["--url", db.url.render_as_string(hide_password=False)]
    answer = CliRunner().invoke(app, ["import", "flights.csv.gz", "--into", "dal.demo.models:Flight", "--reject", *url])
    assert answer.exit_code == 1, answer.output
    assert f"{LINES - 1:,} rows inserted, 1 rejected" in answer.output
    assert "line 2: dep_time = 'late'" in answer.output
    answer = CliRunner().invoke(app, ["export", "SELECT carrier, count(*) FROM flights GROUP BY carrier", "by.csv", *url])
    assert answer.exit_code == 0, answer.output
    assert Path("by.csv").read_text().startswith("carrier,count\n")
    answer = CliRunner().invoke(app, ["export", "dal.demo.models:Flight", "all.parquet", *url])
    assert answer.exit_code == 0, answer.output
    shutil.copy("all.parquet", "again.parquet")
    with db.transaction() as session:
        session.execute(text("TRUNCATE flights"))
    assert BulkWriter(db, Flight).load("again.parquet").inserted == LINES - 1
    with db.session() as session:
        assert session.scalar(select(func.count()).select_from(Flight)) == LINES - 1
