"""Behind PgBouncer in transaction mode: what `Database(url, pgbouncer=True)` changes.

Each transaction may run on another of the server's connections, so nothing may be left on one:

* no prepared statements (PgBouncer before 1.21 knows none, and psycopg would meet them again elsewhere);
* no startup options: PgBouncer refuses `options=...` in the URL;
* dal itself only ever sets what ends with the transaction (SET LOCAL, BEGIN READ ONLY), with or without this switch.

Not available there, whatever the client does: LISTEN, SET without LOCAL, advisory locks and temporary tables that outlive a
transaction. Settings for every session go on the role: `ALTER ROLE app SET statement_timeout = '30s'`. dal's own pool stays
useful in front: it keeps the connections to PgBouncer alive, fair and bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import URL

from dal.errors import ConfigError

__all__ = ["behind_pgbouncer"]


def behind_pgbouncer(url: URL, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return an engine's options for a database behind PgBouncer.

    Args:
        url: The URL.
        options: What the application gave.

    Returns:
        The same, and that nothing is prepared.

    Raises:
        ConfigError: The URL is no psycopg URL, or has startup options.

    Example:
        >>> from sqlalchemy import make_url
        >>> behind_pgbouncer(make_url("postgresql+psycopg://app@bouncer:6432/shop"), None)
        {'connect_args': {'prepare_threshold': None}}
    """
    if url.get_backend_name() != "postgresql" or url.get_driver_name() != "psycopg":
        raise ConfigError(f"pgbouncer: {url.drivername} is not psycopg", hint="postgresql+psycopg://user@host:6432/database")
    given = dict(options or {})
    arguments = {"prepare_threshold": None, **given.get("connect_args", {})}
    if "options" in url.query or "options" in arguments:
        raise ConfigError(
            "pgbouncer: startup options are refused by PgBouncer",
            hint="ALTER ROLE app SET name = value",
        )
    return {**given, "connect_args": arguments}
