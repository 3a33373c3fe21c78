"""The password of the role postgres: random, kept beside the data for the OS user who made it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["keep_password", "password_file", "set_password"]


def password_file(folder: Path) -> Path:
    """Name the file that keeps the password.

    Args:
        folder: The folder of the server.
    """
    return folder / "password"


def keep_password(folder: Path, password: str) -> None:
    """Write the password for this OS user alone.

    Args:
        folder: The folder of the server.
        password: The password.
    """
    path = password_file(folder)
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(password)
    new.replace(path)


def set_password(folder: Path, *, conninfo: str) -> None:
    """Give the role postgres a new password, unless it has one.

    Args:
        folder: The folder of the server.
        conninfo: How libpq reaches the running server.
    """
    if password_file(folder).exists():
        return
    import psycopg
    from psycopg import sql

    password = secrets.token_urlsafe(32)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        # A random password of 256 bits needs no stretching, and every connection over TCP would pay for it.
        connection.execute("SET scram_iterations = 1")
        verifier = connection.pgconn.encrypt_password(password.encode(), b"postgres", b"scram-sha-256").decode()
        connection.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(verifier)))
    keep_password(folder, password)
