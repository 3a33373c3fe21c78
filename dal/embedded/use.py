"""One use of a folder's server: while it lasts the server runs on, when the last one ends it stops.

A shared lock on one file is what the watcher waits for. A locked file for each user in a register beside it tells a
user who stops whether others are left.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from dal.embedded import watcher
from dal.embedded.locks import FileLock, wait_until
from dal.embedded.service import Service
from dal.errors import ServerError

__all__ = ["Use", "make_folder"]

_PATIENCE = 120.0
_TRIES = 100


def make_folder(wanted: Path | None) -> Path:
    """Make the folder of a server, for this OS user only.

    Args:
        wanted: The folder, or None for a new temporary one.

    Raises:
        ServerError: It cannot be made, belongs to another OS user, or holds something else.
    """
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="dal-data-"))
    tries = 0
    while True:
        try:
            return _made(wanted)
        except OSError as error:
            tries += 1
            # A temporary one may be removed by its last user in the middle of this.
            if not isinstance(error, FileNotFoundError | FileExistsError) or tries == _TRIES:
                raise ServerError(
                    f"the data folder {wanted} cannot be used: {error.strerror}", hint="name another folder"
                ) from error


def _made(wanted: Path) -> Path:
    wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = wanted.stat().st_uid
    if owner != os.geteuid():
        raise ServerError(
            f"the data folder {wanted} belongs to another user (id {owner})",
            hint="run as that user, or name a folder of your own",
        )
    # In one look, because another user may be filling it: the lock is what comes first.
    names = set(os.listdir(wanted))
    if "users.lock" not in names:
        if names - {"users"}:
            raise ServerError(
                f"the data folder {wanted} has other things in it", hint="name an empty folder, or one that does not exist"
            )
        wanted.chmod(0o700)
    return wanted


class Use:
    """The shared lock that keeps a server running.

    Args:
        service: The server.

    Raises:
        ServerError: The server is being stopped and does not come to an end.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._process = os.getpid()
        if not wait_until(self._is_joined, timeout=_PATIENCE):
            raise ServerError("the embedded server is being stopped and does not come to an end", hint=f"see {service.log}")

    @property
    def is_mine(self) -> bool:
        """Whether this process took it; a forked child did not."""
        return self._process == os.getpid()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other users from starting or taking down the server during this block."""
        lock = FileLock(self._service.folder / "start.lock")
        try:
            if not wait_until(lock.acquire, timeout=_PATIENCE):
                raise ServerError(
                    "another user of the embedded server has been starting it for too long", hint=f"see {self._service.log}"
                )
            yield
        finally:
            lock.close()

    def end(self) -> None:
        """Give it back; the last one waits until the server is gone."""
        try:
            # A forked child shares the lock with its parent: giving it back there would end the parent's use.
            if self.is_mine:
                self._name.release()
                self._lock.release()
                wait_until(self._is_over, timeout=_PATIENCE)
        finally:
            self._lock.close()
            self._name.close()

    def _is_joined(self) -> bool:
        with ExitStack() as opened:
            try:
                make_folder(self._service.folder)
                register = self._service.folder / "users"
                register.mkdir(mode=0o700, exist_ok=True)
                mine = register / uuid.uuid4().hex
                name = opened.enter_context(closing(FileLock(mine)))
                lock = opened.enter_context(closing(FileLock(self._service.folder / "users.lock")))
            except FileNotFoundError:
                # The last user of a temporary one is removing it.
                return False
            # A name that is not locked yet is taken for a dead user's, and struck out.
            if not (name.acquire() and name.is_current() and lock.acquire(shared=True) and lock.is_current()):
                return False
            opened.pop_all()
        self._mine, self._name, self._lock = mine, name, lock
        return True

    def _has_others(self) -> bool:
        try:
            names = os.listdir(self._mine.parent)
        except FileNotFoundError:
            # The watcher of a temporary folder removes it.
            return False
        for name in names:
            path = self._mine.with_name(name)
            try:
                user = FileLock(path, make=False)
            except FileNotFoundError:
                continue
            try:
                if not user.acquire():
                    return True
                path.unlink(missing_ok=True)
            finally:
                user.close()
        return False

    def _is_over(self) -> bool:
        if not self._lock.is_current():
            # Removed; somebody else may have made it anew.
            return True
        if self._has_others():
            return True
        if self._lock.acquire():
            if not self._lock.is_current():
                return True
            # No other user. Either the watcher has not woken up yet, or there is none because the server was down.
            if self._service.is_watched():
                self._lock.release()
                return False
            last = self._service.last()
            watcher.clean(
                self._service.folder, socket_folder=last.socket_folder if last else None, temporary=self._service.temporary
            )
            return True
        return False
