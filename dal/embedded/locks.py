"""Locks on files that the kernel releases with their holder, also after SIGKILL."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from dal.errors import ServerError

try:
    import fcntl
except ModuleNotFoundError as error:
    raise ServerError(
        "the embedded server runs on Linux and macOS, not on this platform", hint="install PostgreSQL and give its URL"
    ) from error

__all__ = ["FileLock", "wait_until"]


class FileLock:
    """A lock on a file, shared or exclusive.

    Args:
        path: The file.
        make: Make it when missing, readable by its owner only.
    """

    def __init__(self, path: Path, *, make: bool = True) -> None:
        self._path = path
        self.fd = os.open(path, os.O_RDWR | (os.O_CREAT if make else 0) | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def acquire(self, *, shared: bool = False) -> bool:
        """Take the lock without waiting.

        Args:
            shared: Share it with other shared holders.

        Returns:
            Whether it was free.
        """
        try:
            fcntl.flock(self.fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give the lock back and stay open."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def is_current(self) -> bool:
        """Tell whether the file is still the one at its path; a temporary folder may have been removed meanwhile."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self.fd))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Close the file; the lock goes with the last process that has it open."""
        os.close(self.fd)


def wait_until(condition: Callable[[], bool], *, timeout: float, pause: float = 0.01) -> bool:
    """Ask again and again until something holds.

    Args:
        condition: What has to hold.
        timeout: Seconds to wait at most.
        pause: Seconds between two questions.

    Returns:
        Whether it held in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True
