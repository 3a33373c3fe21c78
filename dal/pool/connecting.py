"""How connections are asked for, and what a failure to get one means."""

from __future__ import annotations

import os
import re
import sys
import weakref
from pathlib import Path
from typing import Any

from sqlalchemy import event, exc
from sqlalchemy.engine import Dialect

from dal.errors import ConnectFailed

__all__ = ["Target", "target"]

_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
_CONNECT_SECONDS = 10
_PERMANENT = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|pg_hba\.conf rejects|is not permitted to log in"
    r"|(database|role) \"[^\"]*\" does not exist|permission denied for database|not currently accepting connections"
    r"|server does not support SSL|certificate verify failed|root certificate file|invalid (connection option|port number|dsn)"
    r"|unrecognized configuration parameter|unsupported startup parameter|unsupported frontend protocol"
    r"|no such database"
)
_UNRESOLVED = re.compile(r"Name or service not known|nodename nor servname|No address associated|could not translate host name")
_PERMANENT_STATES = ("28", "3D", "42", "22", "0A")

_targets: weakref.WeakKeyDictionary[Dialect, Target] = weakref.WeakKeyDictionary()


class Target:
    """Where a dialect connects to, as far as it may be told to people.

    Attributes:
        reached: Whether a connection was ever made: until then an unknown host name is taken for a typo.
    """

    __slots__ = ("_secret", "reached", "where")

    def __init__(self) -> None:
        self.where = ""
        self.reached = False
        self._secret = ""

    def learn(self, arguments: dict[str, Any]) -> None:
        """Note host, port, database and user of an attempt."""
        host, port = arguments.get("host") or os.environ.get("PGHOST", "localhost"), arguments.get("port")
        place = str(host) if not port else f"{host}:{port}"
        database, user = arguments.get("dbname"), arguments.get("user")
        self.where = f"{place}/{database}" if database else place
        self.where += f" as {user}" if user else ""
        self._secret = str(arguments.get("password") or "")

    def transient(self, error: BaseException) -> bool:
        """Tell whether connecting is worth another try."""
        return transient(error) and (self.reached or _UNRESOLVED.search(str(error)) is None)

    def failure(self, error: BaseException) -> BaseException:
        """Make what a borrower gets; an error that is not the driver's stays what it is."""
        original = getattr(error, "orig", None) or error
        if isinstance(error, ConnectFailed) or not _is_driver_error(original):
            return error
        text = " ".join(str(original).split())
        if self._secret:
            text = text.replace(self._secret, "***")
        place = f" to {self.where}" if self.where else ""
        return ConnectFailed(f"could not connect{place}: {text}", hint=_hint(text), orig=original)


def target(dialect: Any) -> Target:
    """Give a dialect dal's connection defaults, once, and find where it connects to.

    The application's own settings come first: what the URL, `connect_args` or libpq's environment say stays. Without them a
    connection attempt ends after 10 s, a dead peer is noticed by TCP, and the server shows the program's name.
    """
    if not isinstance(dialect, Dialect):
        return Target()
    found = _targets.get(dialect)
    if found is None:
        found = _targets[dialect] = Target()
        if dialect.driver == "psycopg":
            _listen(dialect, found)
    return found


def transient(error: BaseException) -> bool:
    """Tell whether connecting is worth another try: the network's and the server's moods are, a wrong password is not.

    psycopg has no SQLSTATE for a refused login, so the server's words decide; a server that speaks another language is tried
    until the borrower's time is over.
    """
    original = getattr(error, "orig", None) or error
    if not _is_driver_error(original):
        return False
    state = getattr(original, "sqlstate", None)
    if state:
        return not state.startswith(_PERMANENT_STATES)
    return isinstance(original, OSError) or (_is_operational(original) and _PERMANENT.search(str(original)) is None)


def _listen(dialect: Dialect, found: Target) -> None:
    name = f"dal {Path(sys.argv[0]).name}".strip()[:63] if sys.argv and sys.argv[0] not in {"", "-c"} else "dal"

    def defaults(_: Dialect, record: object, positional: list[Any], arguments: dict[str, Any]) -> None:
        if "PGCONNECT_TIMEOUT" not in os.environ:
            arguments.setdefault("connect_timeout", _CONNECT_SECONDS)
        if "PGAPPNAME" not in os.environ:
            arguments.setdefault("application_name", name)
        for key, value in _KEEPALIVE.items():
            arguments.setdefault(key, value)
        found.learn(arguments)

    event.listen(dialect, "do_connect", defaults)


def _names(error: BaseException) -> set[str]:
    return {base.__name__ for base in type(error).__mro__}


def _is_driver_error(error: BaseException) -> bool:
    return isinstance(error, (OSError, exc.DBAPIError)) or bool(_names(error) & {"Error"})


def _is_operational(error: BaseException) -> bool:
    return bool(_names(error) & {"OperationalError", "InterfaceError"})


def _hint(text: str) -> str:
    if "password" in text or "authentication" in text:
        return "check user and password of the URL, and pg_hba.conf on the server"
    if "does not exist" in text:
        return "check the name in the URL, or create it"
    return "check that the server is up and that host and port of the URL are right"
