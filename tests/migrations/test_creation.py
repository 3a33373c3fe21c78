from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL

from dal import ConfigError, ConnectFailed
from dal.embedded.databases import drop_database
from dal.migrations import Migrations, create_database, init

_MANY = """
import sys
from concurrent.futures import ThreadPoolExecutor
from dal.migrations import create_database
with ThreadPoolExecutor(6) as threads:
    print(sum(threads.map(create_database, [sys.argv[1]] * 6)))
"""


def test_a_missing_database_is_created_once_by_many(dal_database: URL) -> None:
    missing = dal_database.set(database=f"{dal_database.database}: new")
    # A process of its own: SQLAlchemy-Utils leaves the connection of a failed CREATE DATABASE to the garbage collector.
    command = [sys.executable, "-c", _MANY, missing.render_as_string(hide_password=False)]
    try:
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"
        assert create_database(missing) is False
    finally:
        drop_database(missing)


def test_the_first_migration_of_a_new_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    init(tmp_path / "migrations", metadata="dal.demo.models:Base")
    assert create_database(url) is True
    assert Migrations(url, folder=tmp_path / "migrations").up() == []


def test_a_server_that_does_not_answer() -> None:
    with pytest.raises(ConnectFailed, match="'shop' at host 127.0.0.1 cannot be created") as caught:
        create_database("postgresql+psycopg://app:s3cret@127.0.0.1:1/shop")
    assert "s3cret" not in str(caught.value)


def test_a_bad_url() -> None:
    with pytest.raises(ConfigError):
        create_database("nonsense")
