"""Who runs the server: the caller, or, because PostgreSQL refuses to run as root, an unprivileged user of its own.

As root the server runs under a uid that no account has, so that it shares nothing with the daemons of the machine and
they share nothing with it. Only `initdb` insists on an account; it runs once, as `nobody`, in a folder of its own.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from dal.errors import ServerError

__all__ = ["Owner"]

# Reserved by Debian, left unused by systemd, and below 65536, so mapped in rootless containers.
_UNUSED_UIDS = range(65520, 65534)


@dataclass(frozen=True)
class Owner:
    """The OS user a server runs under.

    Args:
        uid: User and group id of the server's processes and files.
        foreign: Whether that is another user than the caller, which is so as root only.
    """

    uid: int
    foreign: bool

    @classmethod
    def choose(cls) -> Owner:
        """Choose the user for a server started by this process.

        Raises:
            ServerError: As root, when no uid is free.
        """
        caller = os.geteuid()
        if caller != 0:
            return cls(caller, foreign=False)
        taken = {entry.pw_uid for entry in pwd.getpwall()}
        for uid in _UNUSED_UIDS:
            if uid not in taken:
                return cls(uid, foreign=True)
        raise ServerError(
            "PostgreSQL refuses to run as root, and no unprivileged user id is free here",
            hint=f"free one of {_UNUSED_UIDS.start} to {_UNUSED_UIDS.stop - 1}, or run as an ordinary user",
        )

    def can_reach(self, path: Path) -> bool:
        """Tell whether the server's user may walk to `path` and read it.

        Args:
            path: A file or folder.
        """
        if not self.foreign:
            return os.access(path, os.R_OK)
        path = path.resolve()
        if not path.exists() or not path.stat().st_mode & stat.S_IROTH:
            return False
        folders = [*path.parents, path] if path.is_dir() else path.parents
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in folders)

    def own(self, path: Path) -> None:
        """Give a file, or a folder and all in it, to the server's user; links are not followed.

        Args:
            path: What was made by this process a moment ago.
        """
        if not self.foreign:
            return
        os.chown(path, self.uid, self.uid, follow_symlinks=False)
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.chown(os.path.join(folder, name), self.uid, self.uid, follow_symlinks=False)

    def working_folder(self, folder: Path) -> str:
        """Name a folder for a process of the server's user that already stands in it.

        A data folder may lie below one that only root may enter. A process that is started in it stays in it, and on
        Linux /proc/self/cwd names it without the walk.

        Args:
            folder: The folder the process is started in.
        """
        return "/proc/self/cwd" if self.foreign and sys.platform == "linux" else str(folder)


def account_for_initdb() -> int:
    """Find the uid of the account that runs `initdb` for root.

    Raises:
        ServerError: There is no account named nobody.
    """
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError as error:
        raise ServerError(
            "initdb cannot run as root and this machine has no account named nobody",
            hint="run as an ordinary user, or add the account",
        ) from error
