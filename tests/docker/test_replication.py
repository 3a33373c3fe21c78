"""The scripts that make primary and replica, run as the images run them, on the embedded server's programs."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from dal.embedded import EmbeddedServer
from dal.embedded.binaries import find_binaries
from dal.embedded.owner import Owner

DOCKER = Path(__file__).parents[2] / "docker"
PASSWORD = 'it\'s "secret"'


@pytest.fixture(scope="module")
def primary() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tcp=True, settings={"wal_level": "logical"}) as server:
        yield server


@pytest.fixture(scope="module")
def replication(primary: EmbeddedServer) -> dict[str, str]:
    """The primary after its init script, as the replica's script is told of it."""
    cluster = min(primary.data.rglob("PG_VERSION"), key=lambda path: len(path.parts)).parent
    subprocess.run(
        ["bash", str(DOCKER / "primary" / "10-replication.sh")],
        check=True,
        env={
            "PATH": f"{find_binaries(Owner.choose())}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(primary.port),
            "PGPASSWORD": primary.password,
            "PGDATA": str(cluster),
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": "postgres",
            "REPLICATION_PASSWORD": PASSWORD,
        },
    )
    primary.restart()
    return {"PRIMARY_HOST": "127.0.0.1", "PRIMARY_PORT": str(primary.port), "REPLICATION_PASSWORD": PASSWORD}


@contextmanager
def replica(folder: Path, primary: dict[str, str]) -> Iterator[str]:
    owner = Owner.choose()
    sockets = folder / "sockets"
    sockets.mkdir(exist_ok=True)
    owner.own(folder)
    process = subprocess.Popen(
        ["bash", str(DOCKER / "replica" / "replica.sh"), "-c", "listen_addresses=", "-k", str(sockets)],
        cwd=folder,
        user=owner.uid if owner.foreign else None,
        group=owner.uid if owner.foreign else None,
        extra_groups=[] if owner.foreign else None,
        env={"PATH": f"{find_binaries(owner)}:{os.environ['PATH']}", "PGDATA": str(folder / "18" / "docker"), **primary},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"host='{sockets}' port=5432 user=postgres dbname=postgres"
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dal-replica-") as name:
        yield Path(name)


def ask(conninfo: str, statement: str, *, wanted: tuple[object, ...]) -> None:
    deadline = time.monotonic() + 30
    answer: object = None
    while time.monotonic() < deadline:
        try:
            with psycopg.connect(conninfo) as connection:
                answer = connection.execute(statement).fetchone()
        except psycopg.Error as error:
            answer = error
        if answer == wanted:
            return
        time.sleep(0.1)
    raise AssertionError(f"{answer!r} is not {wanted!r}")


def test_a_new_replica_streams_and_an_old_one_comes_back(
    primary: EmbeddedServer, replication: dict[str, str], folder: Path
) -> None:
    libpq = primary.url().set(drivername="postgresql").render_as_string(hide_password=False)
    (folder / "18" / "docker.copy").mkdir(parents=True)  # what an interrupted first start leaves
    (folder / "18" / "docker.copy" / "PG_VERSION").write_text("18")
    with replica(folder, replication) as conninfo:
        ask(conninfo, "SELECT pg_is_in_recovery()", wanted=(True,))
        with psycopg.connect(libpq) as connection:
            connection.execute("CREATE TABLE streamed AS SELECT 7 AS number")
        ask(conninfo, "SELECT number FROM streamed", wanted=(7,))
        ask(libpq, "SELECT slot_name, active FROM pg_replication_slots", wanted=("replica", True))
    with psycopg.connect(libpq) as connection:
        connection.execute("UPDATE streamed SET number = 8")
    with replica(folder, replication) as conninfo:
        ask(conninfo, "SELECT number FROM streamed", wanted=(8,))
