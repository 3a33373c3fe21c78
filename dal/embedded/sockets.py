"""Where the server listens: a short socket folder that only its user enters, and a free TCP port where asked for."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

from dal.embedded.owner import Owner
from dal.errors import ServerError

__all__ = ["PORT", "free_port", "socket_folder"]

PORT = 5432
"""The number in the name of the socket; it claims no TCP port."""

# A socket's path has 107 bytes on Linux and 103 on macOS.
_LONGEST = 103
_NAME = len(f"/dal-12345678/.s.PGSQL.{PORT}")


def socket_folder(owner: Owner, *, previous: Path | None = None) -> Path:
    """Make the folder of the socket, outside the data because a socket's path may have 107 bytes only.

    Args:
        owner: The server's user, the only one besides root to enter it.
        previous: The folder of the last run, used again where possible so that URLs stay valid.

    Raises:
        ServerError: No temporary folder is short enough and within the user's reach.
    """
    if previous is not None and _reuse(previous, owner):
        return previous
    for base in dict.fromkeys((tempfile.gettempdir(), "/tmp")):
        # libpq takes a comma in a host for the end of it.
        if len(os.fsencode(base)) + _NAME <= _LONGEST and "," not in base and owner.can_reach(Path(base)):
            folder = Path(tempfile.mkdtemp(prefix="dal-", dir=base))
            owner.own(folder)
            return folder
    raise ServerError(
        "no temporary folder is short enough for a socket and within the reach of the server's user",
        hint="set TMPDIR to a folder with a short path that every user may enter",
    )


def _reuse(folder: Path, owner: Owner) -> bool:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        status = folder.lstat()
        return stat.S_ISDIR(status.st_mode) and status.st_uid == owner.uid and not status.st_mode & 0o077
    except OSError:
        return False
    owner.own(folder)
    return True


def free_port(*, previous: int | None = None) -> int:
    """Find a free port of 127.0.0.1.

    Args:
        previous: The port of the last run, taken again when it is free so that URLs stay valid.
    """
    for wanted in (previous, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted or 0))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServerError("no TCP port of 127.0.0.1 is free", hint="do without tcp=True: the socket needs no port")
