"""On SQLite and MariaDB a scan reads one part after the other, and says so; and where results are written to."""

from __future__ import annotations

import csv
import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Integer, String, select
from sqlalchemy.engine import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import Database, PartFailed, UsageError
from tests.database.doors import Door
from tests.parallel.tables import SALES, Sale, count, fail_late


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "parallel_things"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str | None] = mapped_column(String(10))


def things(url: URL | str) -> Database:
    db = Database(url)
    Base.metadata.drop_all(db.engine)
    Base.metadata.create_all(db.engine)
    with db.transaction() as session:
        session.add_all(Thing(id=number, kind=None if number % 5 == 0 else f"k{number % 3}") for number in range(1, 101))
    return db


@pytest.fixture(params=["sqlite", "mariadb"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    url = f"sqlite:///{tmp_path / 'file.db'}" if request.param == "sqlite" else request.getfixturevalue("mariadb")
    return things(url)


CUTS: list[dict[str, Any]] = [{"by": Thing.id}, {"by": Thing.kind}, {"by": Thing.kind, "split": "hash"}, {}]


@pytest.mark.parametrize("cut", CUTS, ids=["range", "skewed range", "hash", "physical"])
def test_one_part_after_the_other(other: Database, cut: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with other, caplog.at_level(logging.WARNING, "dal.parallel"):
        for processes in (False, True):
            parts = other.parallel(select(Thing), workers=2, processes=processes, **cut).map(count).list()
            assert sum(parts) == 100
        assert (len(parts) > 1) == (cut.get("split") is None and cut != {})
    assert "one after the other" in caplog.text


def test_csv(door: Door, tmp_path: Path) -> None:
    written = door.call(lambda db: db.parallel(select(Sale.id, Sale.word), by=Sale.id).write(tmp_path / "sales.csv"))
    assert written == SALES
    with (tmp_path / "sales.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"id": "1", "word": "same"}
    assert [int(row["id"]) for row in rows] == [number * number for number in range(1, SALES + 1)]
    assert list(tmp_path.iterdir()) == [tmp_path / "sales.csv"]


def test_packed_csv_of_one_column(db: Database, tmp_path: Path) -> None:
    assert db.parallel(select(Sale.word), by=Sale.id).write(tmp_path / "words.csv.gz") == SALES
    with gzip.open(tmp_path / "words.csv.gz", "rt") as file:
        words = file.read().split("\n")
    assert words[:4] == ["word", "same", "Wort 2", ""]
    assert len(words) == 1 + SALES + 1


def test_parquet_of_results(db: Database, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    scan = db.parallel(select(Sale), by=Sale.id, parts=5)
    assert scan.map(lambda rows: {"rows": len(rows), "note": None}).write(tmp_path / "parts.parquet") == 5
    assert sum(parquet.read_table(tmp_path / "parts.parquet").column("rows").to_pylist()) == SALES
    with pytest.raises(UsageError, match="which columns"):
        db.parallel(select(Sale).where(Sale.id < 0), by=Sale.id).map_rows(lambda row: {}).write(tmp_path / "none.parquet")


def test_json_lines_of_objects_and_of_results(db: Database, tmp_path: Path) -> None:
    db.parallel(select(Sale), by=Sale.id).write(tmp_path / "sales.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "sales.jsonl").read_text().splitlines()]
    assert len(lines) == SALES
    assert set(lines[0]) == {"id", "shop_id", "amount", "colour", "word"}
    assert db.parallel(select(Sale), by=Sale.id).map(lambda rows: {"rows": len(rows)}).write(tmp_path / "parts.jsonl") == 32


def test_parquet(db: Database, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    db.parallel(select(Sale.id, Sale.word), by=Sale.id).write(tmp_path / "sales.parquet")
    table = parquet.read_table(tmp_path / "sales.parquet")
    assert table.num_rows == SALES
    assert table.column("id").to_pylist() == [number * number for number in range(1, SALES + 1)]


def test_functions_and_writers(db: Database) -> None:
    taken: list[Any] = []

    class Writer:
        insert = staticmethod(taken.extend)

    for target in (taken.extend, Writer()):
        taken.clear()
        assert db.parallel(select(Sale.id), by=Sale.id).write(target) == SALES == len(taken)


def test_a_scan_that_fails_leaves_the_file_as_it_was(db: Database, tmp_path: Path) -> None:
    target = tmp_path / "counts.csv"
    target.write_text("as it was")
    with pytest.raises(PartFailed):
        db.parallel(select(Sale), by=Sale.id).map(lambda rows: {"rows": fail_late(rows)}).write(target)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("counts.csv", "as it was")]


@pytest.mark.parametrize(
    ("target", "work", "said"),
    [("counts.xls", count, "tells no format"), (7, count, "cannot be written to"), ("counts.csv", count, "no column names")],
)
def test_what_cannot_be_written(db: Database, tmp_path: Path, target: Any, work: Callable[..., Any], said: str) -> None:
    chosen = tmp_path / target if isinstance(target, str) else target
    with pytest.raises(UsageError, match=said):
        db.parallel(select(Sale), by=Sale.id).map(work).write(chosen)
    assert list(tmp_path.iterdir()) == []
