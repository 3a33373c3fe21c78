"""Migrations through a real PgBouncer in transaction mode, where a session lock would be lost."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text

from dal.demo.environment import environment
from dal.embedded import EmbeddedServer
from dal.embedded.owner import Owner
from dal.errors import UnsupportedError
from dal.migrations import Migrations

PGBOUNCER = shutil.which("pgbouncer") or next((path for path in ("/usr/sbin/pgbouncer",) if Path(path).exists()), None)

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed (Debian: apt-get install pgbouncer)")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tcp=True) as server:
        yield server


@pytest.fixture(scope="module")
def pooled(server: EmbeddedServer) -> Iterator[URL]:
    owner = Owner.choose()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="dal-pgbouncer-") as name:
        settings = Path(name) / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={server.port} user=postgres password={server.password}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\nignore_startup_parameters = extra_float_digits\n"
        )
        owner.own(Path(name))
        process = subprocess.Popen(
            [str(PGBOUNCER), "pgbouncer.ini"],
            cwd=name,
            user=owner.uid if owner.foreign else None,
            group=owner.uid if owner.foreign else None,
            extra_groups=[] if owner.foreign else None,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            url = URL.create("postgresql+psycopg", "postgres", host="127.0.0.1", port=port, database="postgres")
            wait_for(port, process)
            yield url
        finally:
            process.terminate()
            process.communicate(timeout=30)


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"PgBouncer did not start: {process.communicate()[1] if process.poll() is not None else 'no answer'}")


def test_migrating_through_a_pooler_is_refused_and_leaves_no_lock(server: EmbeddedServer, pooled: URL) -> None:
    engine = create_engine(pooled)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()
    with pytest.raises(UnsupportedError, match="pooler") as raised:
        Migrations(pooled, folder=environment()).up()
    assert raised.value.hint == "migrate through the server's own host and port"

    direct = Migrations(server.url(), folder=environment(), lock_timeout="5s")
    assert [revision.id for revision in direct.up()] == ["0001"]
    assert Migrations(pooled, folder=environment()).status().up_to_date
