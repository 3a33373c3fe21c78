from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from time import monotonic, sleep

import pytest
from sqlalchemy import URL, create_engine, text
from typer.testing import CliRunner, Result

from dal import Database
from dal.cli.app import app
from dal.errors import UnsupportedError


def dal_pool(url: URL, *options: str) -> Result:
    shown = url.render_as_string(hide_password=False)
    return CliRunner().invoke(app, ["pool", "--url", shown, *options], env={"COLUMNS": "200"})


def cells(output: str, name: str) -> list[str]:
    line = next(line for line in output.splitlines() if name in line)
    return [cell.strip() for cell in line.strip("│").split("│")]


@pytest.fixture
def orders(dal_database: URL) -> Iterator[Database]:
    """A running application: three connections, one of them in a transaction."""
    with Database(dal_database.update_query_dict({"application_name": "orders"})) as db:
        db.pool.resize(min_pool_size=3, max_pool_size=3)
        assert db.pool.warm_up()
        with db.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            yield db


def test_the_pools_of_running_applications(orders: Database, dal_database: URL) -> None:
    answer = dal_pool(dal_database, "--once")
    assert answer.exit_code == 0, answer.output
    application, place, connections, active, idle, in_transaction, locked, longest, age = cells(answer.output, "orders")
    assert (application, place) == ("orders", "local")
    assert (connections, active, idle, in_transaction, locked) == ("3", "0", "2", "1", "0")
    assert longest.endswith("s")
    assert age.endswith("s")
    assert f"{dal_database.database}: " in answer.output
    assert "dal pool" not in answer.output


def test_who_waits_for_a_lock(orders: Database, dal_database: URL) -> None:
    key = "SELECT pg_advisory_lock(7)"
    engine = create_engine(dal_database.update_query_dict({"application_name": "waiting"}))
    with orders.engine.connect() as holder, engine.connect() as waiting:
        holder.execute(text(key))
        waiting.connection.driver_connection.pgconn.send_query(key.encode())  # type: ignore[union-attr]
        deadline = monotonic() + 10
        while (found := cells(dal_pool(dal_database, "--once").output, "waiting"))[6] != "1" and monotonic() < deadline:
            sleep(0.05)
        assert found[2:7] == ["1", "1", "0", "0", "1"]
        holder.execute(text("SELECT pg_advisory_unlock(7)"))
        waiting.invalidate()
    engine.dispose()


def test_a_pool_of_its_own(dal_database: URL) -> None:
    answer = dal_pool(dal_database, "--once", "--warm")
    assert answer.exit_code == 0, answer.output
    assert cells(answer.output, "│ connections")[1].startswith("5 (of 5 to 20)")
    assert cells(answer.output, "│ opened")[1] == "5, 0 in vain, 0 found dead"


def test_a_role_that_may_not_see_others(orders: Database, dal_database: URL) -> None:
    role = f"reader_{os.getpid()}"
    with orders.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'x'"))
        try:
            answer = dal_pool(dal_database.set(username=role, password="x"), "--once")
        finally:
            connection.execute(text(f"DROP ROLE {role}"))
    assert answer.exit_code == 0, answer.output
    assert cells(answer.output, "orders")[1:3] == ["?", "3"]
    assert "3 of them belong to other roles" in answer.output


def test_it_goes_on_until_it_is_stopped(orders: Database, dal_database: URL) -> None:
    url = dal_database.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "dal.cli", "pool", "--url", url, "--interval", "0.1"]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1", "FORCE_COLOR": "1", "TERM": "xterm"}
    shown = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        while shown.count("orders") < 3:
            line = process.stdout.readline()
            assert line
            shown += line
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(10) == 0


def test_other_databases_are_told() -> None:
    answer = dal_pool(URL.create("sqlite"), "--once")
    assert isinstance(answer.exception, UnsupportedError)
