"""The parent of one running server: stops it when its last user is gone, however that user went.

Every user holds a shared lock on one file, which the kernel releases with the process. The watcher waits for the
exclusive lock on it. Run as a script with nothing but the standard library, so that it starts at once and stays small;
its orders come as JSON on standard input.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["clean", "process_started"]

_PR_SET_PDEATHSIG = 1
_GRACE = 30.0


def process_started(pid: int) -> str | None:
    """Read when a process started, which together with its id names it for good.

    Args:
        pid: The process id.

    Returns:
        An opaque mark, or None where no such process runs.
    """
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None


def _die_with_parent(stop_signal: int) -> Callable[[], None] | None:
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it, macOS has not
    return None if prctl is None else lambda: prctl(_PR_SET_PDEATHSIG, stop_signal)


def _spawn(orders: dict[str, Any], stop_signal: int) -> subprocess.Popen[bytes]:
    uid = orders["uid"]
    return subprocess.Popen(
        orders["command"],
        cwd=orders["cwd"],
        env=orders["environment"],
        stdin=subprocess.DEVNULL,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
        umask=0o077,
        # Here and not in the parent, because a change of user would clear it.
        preexec_fn=_die_with_parent(stop_signal),
    )


def clean(folder: Path, *, socket_folder: Path | None, temporary: bool) -> None:
    """Remove what a stopped server leaves behind; the caller holds the exclusive lock of the users.

    Args:
        folder: The folder of the server.
        socket_folder: Where its socket was, if it had one.
        temporary: Whether the data goes too.
    """
    if socket_folder is not None:
        shutil.rmtree(socket_folder, ignore_errors=True)
    if temporary:
        # Out of the way first: a new user of the folder must not meet half of it.
        removed = folder.with_name(f"{folder.name}.removed-{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            folder.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _watch(orders: dict[str, Any]) -> None:
    folder, temporary, place = Path(orders["folder"]), orders["temporary"], orders["place"]
    socket_folder = Path(orders["state"]["socket_folder"])
    stop_signal = signal.SIGQUIT if temporary else signal.SIGINT
    users = os.open(folder / "users.lock", os.O_RDWR | os.O_NOFOLLOW)
    server = _spawn(orders, stop_signal)
    signal.signal(signal.SIGTERM, lambda *_: server.send_signal(stop_signal))
    state = {**orders["state"], "pid": server.pid, "started": process_started(server.pid)}
    written = folder / "server.json.new"
    written.write_text(json.dumps(state))
    written.replace(folder / "server.json")
    unused = threading.Event()

    def stop_when_unused() -> None:
        fcntl.flock(users, fcntl.LOCK_EX)
        unused.set()
        server.send_signal(stop_signal)
        time.sleep(_GRACE)
        server.send_signal(signal.SIGQUIT)

    threading.Thread(target=stop_when_unused, daemon=True).start()
    server.wait()
    if not unused.is_set() and temporary:
        # It died or was halted under its users. They may start another one, which takes this place; whoever finds the
        # place free when the last user goes, removes the data.
        fcntl.flock(place, fcntl.LOCK_UN)
        unused.wait()
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if not _is_at(folder / "watcher.lock", place):
            return
    if unused.is_set():
        clean(folder, socket_folder=socket_folder, temporary=temporary)


if __name__ == "__main__":
    given = json.load(sys.stdin)
    if os.fork() == 0:
        _watch(given)
