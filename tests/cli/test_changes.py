"""`dal changes`: what is committed is printed, and slots are listed, dropped and pruned."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import URL, text
from typer.testing import CliRunner, Result

from dal import Database
from dal.cli.app import app
from dal.errors import UsageError
from tests.streams.models import Base, Order


@pytest.fixture
def db(dal_database: URL) -> Iterator[Database]:
    with Database(dal_database) as db:
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f'ALTER DATABASE "{dal_database.database}" SET synchronous_commit = on'))
        Base.metadata.create_all(db.engine)
        yield db


def shown(db: Database) -> str:
    return db.url.render_as_string(hide_password=False)


def run(db: Database, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["changes", *arguments, "--url", shown(db)], env={"COLUMNS": "200"})


def tailing(db: Database, *arguments: str) -> subprocess.Popen[str]:
    """Start it, and wait until it reads."""
    command = [sys.executable, "-m", "dal.cli", "changes", "tail", "--url", shown(db), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # A slot that is being made is active too, while it waits for every transaction of the server to end.
    active = text("""
        SELECT count(*) FROM pg_replication_slots
        WHERE active AND confirmed_flush_lsn IS NOT NULL AND database = current_database()
    """)
    deadline = time.monotonic() + 30
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.scalar(active):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
    return process


def left(db: Database) -> int:
    with db.session() as session:
        slots = session.scalar(text("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()")) or 0
        return slots + (session.scalar(text("SELECT count(*) FROM pg_publication")) or 0)


def test_tail(db: Database) -> None:
    process = tailing(db, "orders", "--limit", "2")
    with db.transaction() as session:
        session.add(Order(id=1, shop="a", total=5))
        session.flush()
        session.get_one(Order, 1).total = 6
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    first, second = out.splitlines()
    assert "insert   orders id=1, shop_name='a', total=5, paid=False" in first
    assert "update   orders id=1, shop_name='a', total=6, paid=False" in second
    assert left(db) == 0


def test_tail_as_json_typed_by_the_mapping_until_ctrl_c(db: Database) -> None:
    process = tailing(db, "--models", "tests.streams.models:Base", "--json")
    with db.transaction() as session:
        session.add(Order(id=1, shop="a", total=5))
    assert process.stdout is not None
    found = json.loads(process.stdout.readline())
    assert (found["kind"], found["table"], found["new"]["shop_name"]) == ("insert", "orders", "a")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert left(db) == 0


def test_tail_of_what_is_not_there(db: Database) -> None:
    answer = run(db, "tail", "nowhere")
    assert isinstance(answer.exception, UsageError)
    assert "there is no table nowhere" in str(answer.exception)


def test_list_and_drop(db: Database) -> None:
    assert "no change stream" in run(db, "list").output
    db.changes(Order, name="billing").create()
    line = next(line for line in run(db, "list").output.splitlines() if "billing" in line)
    assert [cell.strip() for cell in line.split("│")][:3] == ["billing", "no", "reserved"]
    assert "holds nothing any more" in run(db, "drop", "billing").output
    assert left(db) == 0


def test_prune(db: Database) -> None:
    db.changes(Order, name="old").create()
    flow = db.changes(Order, name="read").to(lambda items: None)
    with db.transaction() as session:
        session.execute(text("CREATE PUBLICATION dal_temporary_0123 FOR TABLE orders"))
    assert run(db, "prune", "--max-lag", "1TB").output.splitlines()[-1] == "0 dropped"
    assert run(db, "prune", "--max-lag", "0").output.splitlines() == ["dropped the stream old", "1 dropped"]
    assert flow.stop()
    db.changes(Order, name="read").drop()
    assert left(db) == 0
    assert "not a number of bytes" in str(run(db, "prune", "--max-lag", "much").exception)
