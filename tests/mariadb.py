"""A real MariaDB for tests, started from Debian's package; tests that ask for it skip themselves where it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

__all__ = ["database_of_its_own", "mariadb", "mariadb_server"]


@pytest.fixture
def mariadb(mariadb_server: URL) -> URL:
    """A database of the test's own."""
    return database_of_its_own(mariadb_server)


def database_of_its_own(server: URL) -> URL:
    """Make a database on a MariaDB server; it goes with the server."""
    name = f"shop_{uuid.uuid4().hex}"
    engine = create_engine(server)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.set(database=name)


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    server, setup = shutil.which("mariadbd", path=_paths()), shutil.which("mariadb-install-db", path=_paths())
    if server is None or setup is None:
        pytest.skip("mariadb-server is not installed")
    pytest.importorskip("pymysql", reason="pymysql is not installed")
    home = tmp_path_factory.mktemp("mariadb")
    data, socket = home / "data", home / "s"
    user = ["--user=root"] if os.geteuid() == 0 else []
    common = ["--no-defaults", f"--datadir={data}", *user]
    _set_up([setup, *common, "--auth-root-authentication-method=normal", "--skip-test-db"], data)
    process = subprocess.Popen(
        [server, *common, f"--socket={socket}", "--skip-networking", f"--pid-file={home / 'pid'}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield _ready(URL.create("mysql+pymysql", "root", database="mysql", query={"unix_socket": str(socket)}), process)
    finally:
        process.terminate()
        process.wait(30)


def _set_up(command: list[str], data: Path) -> None:
    # MariaDB's script was seen to fail once where two workers ran it at the same moment; a second try tells more.
    for _ in range(2):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return
        shutil.rmtree(data, ignore_errors=True)
    raise AssertionError(f"MariaDB could not be set up: {done.stdout[-2000:]} {done.stderr[-2000:]}")


def _paths() -> str:
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))


def _ready(url: URL, process: subprocess.Popen[bytes]) -> URL:
    engine = create_engine(url)
    socket = Path(str(url.query["unix_socket"]))
    for _ in range(300):
        assert process.poll() is None, "the server ended at once"
        if socket.exists():
            engine.connect().close()
            engine.dispose()
            return url
        time.sleep(0.1)
    raise AssertionError("the server did not answer within 30 s")
