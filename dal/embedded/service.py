"""One server of one folder: found running, started, or taken down, by whichever of its users comes first."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dal.embedded import watcher
from dal.embedded.cluster import server_environment
from dal.embedded.locks import FileLock, wait_until
from dal.embedded.owner import Owner
from dal.embedded.sockets import PORT, free_port, socket_folder
from dal.errors import ServerError

__all__ = ["Running", "Service"]

_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 60.0
_PASSING = (
    "pre-existing shared memory block",
    "could not create any TCP/IP sockets",
    'lock file "postmaster.pid" already exists',
)
_ORPHAN = "due to unexpected postmaster exit"


@dataclass(frozen=True, kw_only=True)
class Running:
    """What the users of a server know of it, kept in server.json.

    Args:
        pid: Process id of the postmaster.
        started: When it started, so that another process with its id is not taken for it.
        socket_folder: Where its socket is.
        port: Its TCP port, or None.
        settings: The settings it was started with.
    """

    pid: int
    started: str | None
    socket_folder: Path
    port: int | None
    settings: Mapping[str, str] = field(default_factory=dict)

    def is_alive(self) -> bool:
        """Tell whether this very process still runs."""
        return self.started is not None and watcher.process_started(self.pid) == self.started


@dataclass(frozen=True)
class Service:
    """The server of a folder.

    Args:
        folder: The folder; the cluster lies in it.
        owner: The user the server runs under.
        temporary: Whether the data goes with the last user.
    """

    folder: Path
    owner: Owner
    temporary: bool

    @property
    def cluster(self) -> Path:
        """The data folder as PostgreSQL knows it."""
        return self.folder / "cluster"

    @property
    def log(self) -> Path:
        """The file the server logs to."""
        return self.folder / "server.log"

    def last(self) -> Running | None:
        """Read what is known of the last server, running or not."""
        try:
            state = json.loads((self.folder / "server.json").read_text())
        except FileNotFoundError:
            return None
        return Running(**{**state, "socket_folder": Path(state["socket_folder"])})

    def is_watched(self) -> bool:
        """Tell whether a watcher is at work."""
        try:
            place = FileLock(self.folder / "watcher.lock", make=False)
        except FileNotFoundError:
            return False
        try:
            return not place.acquire()
        finally:
            place.close()

    def ensure(self, binaries: Path, *, settings: Mapping[str, str], tcp: bool) -> Running:
        """Find the server running or start it; the caller holds the start lock and is a user.

        Args:
            binaries: The folder of the programs.
            settings: Server settings for a start.
            tcp: Whether it listens on 127.0.0.1 as well.

        Raises:
            ServerError: It does not start.
        """
        failure = ""

        def is_up() -> bool:
            nonlocal failure
            started_here = self._start(binaries, settings=settings, tcp=tcp)
            if wait_until(lambda: self._is_ready() or not self.is_watched(), timeout=_START_TIMEOUT) and self._is_ready():
                return True
            failure = self._complaint()
            if started_here and not self._is_passing():
                raise ServerError(f"the embedded server does not start: {failure}", hint=self._hint())
            return False

        if not wait_until(is_up, timeout=_START_TIMEOUT, pause=0.05):
            raise ServerError(f"the embedded server did not start in {_START_TIMEOUT:g} s: {failure}", hint=self._hint())
        running = self.last()
        assert running is not None
        return running

    def take_down(self, how: signal.Signals) -> None:
        """Signal the server and wait until it is gone; the caller holds the start lock.

        Args:
            how: SIGTERM waits for clients, SIGINT disconnects them, SIGQUIT skips the checkpoint, SIGKILL is a crash.

        Raises:
            ServerError: It is not gone in time.
        """
        running = self.last()
        if running is None:
            return

        def is_gone() -> bool:
            if running.is_alive():
                return False
            return not self.is_watched()

        if running.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, how)
        if not wait_until(is_gone, timeout=_STOP_TIMEOUT):
            raise ServerError(
                f"the embedded server (process {running.pid}) did not stop in {_STOP_TIMEOUT:g} s",
                hint="close its clients, or halt it with mode='immediate'",
            )

    def _start(self, binaries: Path, *, settings: Mapping[str, str], tcp: bool) -> bool:
        place = FileLock(self.folder / "watcher.lock")
        try:
            if not place.acquire():
                return False
            previous = self.last()
            if previous is not None and previous.is_alive():
                # Its watcher was killed. Linux has told it to stop; elsewhere nobody has.
                os.kill(previous.pid, signal.SIGINT)
                if not wait_until(lambda: not previous.is_alive(), timeout=10):
                    os.kill(previous.pid, signal.SIGQUIT)
                    wait_until(lambda: not previous.is_alive(), timeout=10)
            # Left by a crash. Its process is gone, and the same number may be somebody else's by now.
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)
            listening = socket_folder(self.owner, previous=previous.socket_folder if previous else None)
            port = free_port(previous=previous.port if previous else None) if tcp else None
            state: dict[str, Any] = {"socket_folder": str(listening), "port": port, "settings": dict(settings)}
            self._spawn_watcher(binaries, state=state, place=place)
        finally:
            place.close()
        return True

    def _spawn_watcher(self, binaries: Path, *, state: dict[str, Any], place: FileLock) -> None:
        listening = {
            "unix_socket_directories": state["socket_folder"],
            "unix_socket_permissions": "0700",
            "listen_addresses": "127.0.0.1" if state["port"] else "",
            "port": state["port"] or PORT,
        }
        options = [f"--{name}={value}" for name, value in {**state["settings"], **listening}.items()]
        orders = {
            "folder": str(self.folder),
            "cwd": str(self.cluster),
            "command": [str(binaries / "postgres"), "-D", self.owner.working_folder(self.cluster), *options],
            "environment": dict(server_environment()),
            "uid": self.owner.uid if self.owner.foreign else None,
            "temporary": self.temporary,
            "place": place.fd,
            "state": state,
        }
        # The processes of a crashed server write to it until they are gone: each at the end, or it would have holes.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with open(os.open(self.log, flags, 0o600), "ab") as log:
            started = subprocess.Popen(
                [sys.executable, "-I", "-S", watcher.__file__],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                pass_fds=(place.fd,),
                start_new_session=True,
            )
        # It forks itself and this first process ends at once: the watcher outlives the user who started it.
        started.communicate(json.dumps(orders).encode())

    def _is_ready(self) -> bool:
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        running = self.last()
        return (
            len(lines) >= 8
            and lines[7].strip() in {"ready", "standby"}
            and running is not None
            and lines[0] == str(running.pid)
            and running.is_alive()
        )

    def _hint(self) -> str:
        return "check the settings, and the space left in the temporary folder" if self.temporary else f"see {self.log}"

    def _is_passing(self) -> bool:
        """Tell whether it stumbled over what a crashed server leaves for a moment, whatever else that one said since."""
        said = self.log.read_text(errors="replace")
        return any(passing in said for passing in _PASSING)

    def _complaint(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if _ORPHAN not in line]
        told = [line for line in lines if "FATAL:" in line or "PANIC:" in line or line.startswith("postgres:")]
        return (told or lines or ["it left no message"])[-1].rpartition("FATAL:")[2].strip()
