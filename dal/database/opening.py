"""What a caller says when a database is opened, brought into the form that both doors work with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.engine import URL

from dal.config import CursorConfig, DatabaseConfig, PoolConfig
from dal.loading import Policies, Policy, named_policies

__all__ = [
    "configured",
    "embedded_server",
    "flushing",
    "given_options",
    "known_policies",
    "known_to_sessions",
    "merged_session_options",
]

S = TypeVar("S")


def configured(url: str | URL | DatabaseConfig, pool: PoolConfig | None, cursors: CursorConfig | None = None) -> DatabaseConfig:
    """Return the configuration behind what a caller gave as a database."""
    if not isinstance(url, DatabaseConfig):
        return DatabaseConfig(url=url, pool=pool, cursors=cursors)
    if pool is None and cursors is None:
        return url
    return DatabaseConfig(
        url=url.url, pool=pool or url.pool, policies=url.policies, policy=url.policy, cursors=cursors or url.cursors
    )


def known_policies(config: DatabaseConfig, policy: Policy | str | None, policies: Mapping[str, Policy] | None) -> Policies:
    """Return the policies a database knows, with its default."""
    named = Policies(named={**named_policies(config.policies), **(policies or {})})
    chosen = policy if policy is not None else config.policy
    default = named.find(chosen) if isinstance(chosen, str) else chosen
    return Policies.of(default, named.named)


def merged_session_options(
    options: Mapping[str, Any] | None, policies: Policies, cursors: CursorConfig | None
) -> dict[str, Any]:
    """Return the arguments of a sessionmaker, with the policies and the keys of cursors in its `info`."""
    given = dict(options or {})
    return {**given, "info": {**given.get("info", {}), **known_to_sessions(policies, cursors)}}


def known_to_sessions(policies: Policies, cursors: CursorConfig | None) -> dict[str, Any]:
    """Return what a session's `info` holds of a database's settings."""
    return {**policies.info(), **({} if cursors is None else cursors.info())}


def embedded_server(data: str | Path | None, settings: Mapping[str, str] | None) -> Any:
    """Start the embedded server, imported only now."""
    from dal.embedded import EmbeddedServer

    return EmbeddedServer(Path(".dal") / "postgres" if data is None else data, settings=settings).start()


def given_options(url: URL, options: Mapping[str, Any] | None, pgbouncer: bool) -> Mapping[str, Any]:
    """Return the engine's options that a caller gave, changed for PgBouncer where there is one."""
    if not pgbouncer:
        return options or {}
    from dal.database.pgbouncer import behind_pgbouncer

    return behind_pgbouncer(url, options)


def flushing(session: S, *, in_bulk: bool) -> S:
    """Return a session that flushes many new objects by COPY, if it shall; what does it is imported only now."""
    if in_bulk:
        from dal.bulk.flush import bulk_flush

        bulk_flush(session)
    return session
