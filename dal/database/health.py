"""Is this database well? One look at the server, the pool and the settings, each problem with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from dal import deadlines
from dal.config import PoolConfig
from dal.database.engines import UNMAPPED
from dal.errors import DalError
from dal.own_statements import ask

__all__ = ["Health", "Problem", "look"]

_PATIENCE = 5.0
_MAPPED = ("min_pool_size", "max_pool_size", "connection_timeout", "max_lifetime", "test_on_borrow")
_SERVER = """
SELECT pg_is_in_recovery(), current_setting('server_version'),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
       (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL),
       current_setting('fsync'), current_setting('default_transaction_read_only')"""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to do about a database.

    Args:
        what: What is wrong.
        fix: What to do.
    """

    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}\n  fix: {self.fix}"


@dataclass(frozen=True, slots=True)
class Health:
    """How a database is.

    Args:
        ok: Whether it answered.
        latency: Seconds of one round trip; None when there was no answer.
        server_version: As the server says it, such as "18.1"; None when unknown.
        in_recovery: Whether the server is a replica; None where that means nothing.
        problems: What to do something about, `ok` or not.
    """

    ok: bool
    latency: float | None
    server_version: str | None
    in_recovery: bool | None
    problems: tuple[Problem, ...]


def look(engine: Engine, pool: PoolConfig, url: URL) -> Health:
    """Connect, within five seconds or the deadline in force, and look.

    Args:
        engine: The database's engine.
        pool: The pool's settings.
        url: The database's URL.

    Returns:
        What was found; a server that does not answer is no error but a finding.
    """
    settings = tuple(_settings(engine, pool, url))
    try:
        with deadlines.limit(_PATIENCE), engine.connect() as connection:
            began = perf_counter()
            ask(connection, "SELECT 1")
            latency = perf_counter() - began
            version, in_recovery, found = _server(connection, pool, url)
            found.extend(_pool(engine))
    except SQLAlchemyError as error:
        return Health(False, None, None, None, (_unreachable(error), *settings))
    return Health(True, latency, version, in_recovery, (*found, *settings))


def _unreachable(error: SQLAlchemyError) -> Problem:
    # A deadline, or a pool, says that nothing came; what it was raised from says why.
    while isinstance(error.__cause__, DalError):
        error = error.__cause__
    fix = error.hint if isinstance(error, DalError) and error.hint else "check the URL and the server's log"
    return Problem(f"the database does not answer: {str(error).splitlines()[0]}", fix)


def _server(connection: Connection, pool: PoolConfig, url: URL) -> tuple[str | None, bool | None, list[Problem]]:
    if connection.dialect.name != "postgresql":
        version = connection.dialect.server_version_info
        return (".".join(str(part) for part in version) if version else None), None, []
    recovering, version_text, usable, used, fsync, read_only = ask(connection, _SERVER)
    found = []
    if recovering and url.query.get("target_session_attrs") not in {"any", "standby", "prefer-standby", "read-only"}:
        found.append(
            Problem(
                "the server is a replica: whatever writes will fail", "name all hosts and add target_session_attrs=read-write"
            )
        )
    elif read_only == "on" and not recovering:
        found.append(Problem("transactions are read-only by default", "ALTER DATABASE ... RESET default_transaction_read_only"))
    if pool.max_pool_size > usable:
        found.append(
            Problem(
                f"max_pool_size is {pool.max_pool_size}, but the server takes {usable} connections",
                "lower max_pool_size, raise the server's max_connections, or put PgBouncer in between",
            )
        )
    elif used >= usable * 0.9:
        found.append(
            Problem(f"{used} of the server's {usable} connections are in use", "lower max_pool_size, or use PgBouncer")
        )
    found.extend(_streams(connection))
    if fsync == "off":
        found.append(Problem("the server does not sync to disk: a crash may destroy it", "ALTER SYSTEM RESET fsync"))
    return version_text, recovering, found


def _streams(connection: Connection) -> Iterator[Problem]:
    from dal.streams.watch import problems

    return (Problem(what, fix) for what, fix in problems(connection))


def _pool(engine: Engine) -> Iterator[Problem]:
    stats: Any = getattr(engine.pool, "stats", None)
    if stats is None:
        return
    now = stats()
    if now.waiting:
        yield Problem(
            f"{now.waiting} wait for a connection, {now.in_use} of at most {now.max_size} are in use",
            "hold connections for less time, or raise max_pool_size",
        )


def _settings(engine: Engine, pool: PoolConfig, url: URL) -> Iterator[Problem]:
    """Tell which settings of the pool that were given do nothing here."""
    if url.get_backend_name() == "postgresql":
        return
    kind = type(engine.pool)
    names = UNMAPPED if isinstance(engine.pool, QueuePool) else (*_MAPPED, *UNMAPPED)
    given = [name for name in names if getattr(pool, name) != getattr(PoolConfig(), name)]
    if given:
        told = (
            f"{', '.join(names)} do nothing here: SQLAlchemy's {kind.__name__} for {url.get_backend_name()} knows no such thing"
        )
        yield Problem(told, f"leave out {', '.join(given)}")
