"""Several users of one server, and none left behind by any of them."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dal.embedded import EmbeddedServer
from dal.embedded.locks import wait_until
from dal.errors import ServerError

from .conftest import User, is_alive

StartUser = Callable[..., User]

USE = """
from dal.embedded import EmbeddedServer
with EmbeddedServer(sys.argv[1], temporary=sys.argv[2] == "temporary") as server:
    print(server.pid)
    sys.stdin.read()
"""
USE_TEMPORARY = """
from dal.embedded import EmbeddedServer
server = EmbeddedServer().start()
print(server.pid, server.data, server.socket_folder)
sys.stdin.read()
"""


def test_killed_user_leaves_no_server_and_no_data(start_user: StartUser) -> None:
    user = start_user(USE_TEMPORARY)
    pid, data, sockets = user.hear().split()
    assert is_alive(int(pid))
    user.kill()
    assert wait_until(lambda: not is_alive(int(pid)), timeout=30)
    assert wait_until(lambda: not Path(data).exists() and not Path(sockets).exists(), timeout=30)


def test_user_that_just_exits_leaves_no_server(start_user: StartUser) -> None:
    user = start_user(USE_TEMPORARY)
    pid, data, _ = user.hear().split()
    user.end()
    assert wait_until(lambda: not is_alive(int(pid)) and not Path(data).exists(), timeout=30)


def test_last_of_several_processes_stops_it(start_user: StartUser, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    users = [start_user(USE, data, "kept") for _ in range(4)]
    (pid,) = {int(user.hear()) for user in users}
    users[0].kill()
    users[1].end()
    users[2].kill()
    time.sleep(0.3)
    assert is_alive(pid)
    users[3].kill()
    assert wait_until(lambda: not is_alive(pid), timeout=30)
    with EmbeddedServer(data) as server:
        assert server.pid != pid


def test_shared_temporary_folder_goes_with_the_last(start_user: StartUser, tmp_path: Path) -> None:
    data = tmp_path / "data"
    one, other = start_user(USE, str(data), "temporary"), start_user(USE, str(data), "temporary")
    assert one.hear() == other.hear()
    one.end()
    assert data.exists()
    other.end()
    assert not data.exists()


def test_users_come_and_go_all_at_once(start_user: StartUser, tmp_path: Path) -> None:
    script = """
from dal.embedded import EmbeddedServer
from dal.embedded.databases import connect
for _ in range(6):
    with EmbeddedServer(sys.argv[1], temporary=True) as server:
        connect(server.url()).close()
print("done")
"""
    users = [start_user(script, str(tmp_path / "data")) for _ in range(3)]
    assert [user.hear(60) for user in users] == ["done"] * 3
    assert wait_until(lambda: not (tmp_path / "data").exists(), timeout=30)


def test_objects_of_one_process_share_too(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as one:
        with EmbeddedServer(tmp_path) as other:
            assert one.pid == other.pid
        assert one.is_running
    assert not is_alive(one._running.pid)  # type: ignore[union-attr]


def test_server_killed_under_its_user_leaves_nothing_when_that_is_killed_too(start_user: StartUser) -> None:
    user = start_user(USE_TEMPORARY)
    pid, data, sockets = user.hear().split()
    os.kill(int(pid), signal.SIGKILL)
    assert wait_until(lambda: not is_alive(int(pid)), timeout=30)
    assert Path(data).exists()
    user.kill()
    assert wait_until(lambda: not Path(data).exists() and not Path(sockets).exists(), timeout=30)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux tells a child that its parent died")
def test_server_does_not_outlive_a_killed_watcher(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path).start()
    watcher = int(re.findall(r"PPid:\s*(\d+)", Path(f"/proc/{server.pid}/status").read_text())[0])
    os.kill(watcher, signal.SIGKILL)
    assert wait_until(lambda: not server.is_running, timeout=30)
    server.start()
    assert server.is_running
    server.stop()


def test_forked_child_neither_stops_nor_keeps_the_server() -> None:
    with EmbeddedServer() as server:
        pid = server.pid
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            server.stop()
            os.write(tell, b".")
            time.sleep(60)
            os._exit(0)
        os.read(told, 1)
        assert server.is_running
        server.stop()
        assert not is_alive(pid)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(told)
        os.close(tell)


def test_user_with_other_settings_is_refused_and_the_first_undisturbed(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, settings={"work_mem": "5MB"}) as server:
        for other in (EmbeddedServer(tmp_path, settings={"work_mem": "6MB"}), EmbeddedServer(tmp_path, tcp=True)):
            with pytest.raises(ServerError, match=r"already runs .*(work_mem=5MB|tcp=False)"):
                other.start()
        with EmbeddedServer(tmp_path) as joined:
            assert joined.pid == server.pid
        assert server.is_running


def test_process_number_taken_by_another_is_not_taken_for_the_server(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path):
        pass
    state = json.loads((tmp_path / "server.json").read_text())
    (tmp_path / "server.json").write_text(json.dumps({**state, "pid": os.getpid()}))
    (tmp_path / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n/elsewhere\n1\n5432\n\n\n\nready   \n")
    with EmbeddedServer(tmp_path) as server:
        assert server.pid != os.getpid()
