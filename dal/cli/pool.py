"""`dal pool`: who is connected to a database, by application name, live.

A pool lives in the process of its application, and what waits in it cannot be seen from outside: `db.pool.stats()` and the
OpenTelemetry metrics tell that. What every pool shows is its connections, and the server knows them. `--warm` opens a pool of
this command's own with the settings given, as an application would, and shows its numbers: a rehearsal of the settings.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dal.cli.target import ConfigOption, UrlOption, database_config

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dal.config import DatabaseConfig
    from dal.database import Database
    from dal.pool import PoolStats

__all__ = ["pool"]

_OWN_NAME = "dal pool"
_CLIENTS = """
SELECT coalesce(nullif(application_name, ''), '(no name)'),
       CASE WHEN backend_type IS NULL THEN '?' ELSE coalesce(host(client_addr), 'local') END, count(*),
       count(*) FILTER (WHERE state = 'active'), count(*) FILTER (WHERE state = 'idle'),
       count(*) FILTER (WHERE state LIKE 'idle in transaction%%'), count(*) FILTER (WHERE wait_event_type = 'Lock'),
       extract(epoch FROM max(clock_timestamp() - xact_start))::float8,
       extract(epoch FROM max(clock_timestamp() - backend_start))::float8, count(*) FILTER (WHERE backend_type IS NULL)
FROM pg_stat_activity
WHERE datname = current_database() AND coalesce(backend_type, 'client backend') = 'client backend' AND application_name <> %s
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"""
_SERVER = """
SELECT current_database(), (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"""
_COLUMNS = ("application", "from", "connections", "active", "idle", "in transaction", "locked out", "transaction", "age")


def pool(
    url: UrlOption = None,
    config: ConfigOption = None,
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.")] = False,
    interval: Annotated[float, typer.Option("--interval", min=0.1, help="Seconds between two looks.")] = 1.0,
    warm: Annotated[bool, typer.Option("--warm", help="Also open a pool with these settings, and show its numbers.")] = False,
) -> None:
    """Show who is connected to a PostgreSQL database, by application name, live; Ctrl-C ends it."""
    from rich.console import Console
    from rich.live import Live

    from dal.database import Database

    with Database(_settings(database_config(url, config), warm=warm)) as db:
        if warm:
            db.pool.warm_up()
        console = Console(highlight=False)
        first = _picture(db, warm=warm)
        if once:
            console.print(first)
            return
        with Live(first, console=console, auto_refresh=False) as live:
            try:
                while True:
                    time.sleep(interval)
                    live.update(_picture(db, warm=warm), refresh=True)
            except KeyboardInterrupt:
                return


def _settings(config: DatabaseConfig, *, warm: bool) -> DatabaseConfig:
    """Look with a connection of the command's own name, and with one only unless a pool is asked for."""
    from dal.config import PoolConfig
    from dal.errors import UnsupportedError

    if config.url.get_backend_name() != "postgresql":
        raise UnsupportedError(
            f"{config.url.get_backend_name()} does not tell who is connected", hint="dal pool needs a PostgreSQL database"
        )
    named = config.url.update_query_dict({"application_name": _OWN_NAME})
    return replace(config, url=named, pool=config.pool if warm else PoolConfig(min_pool_size=0, max_pool_size=1))


def _picture(db: Database, *, warm: bool) -> RenderableType:
    from rich.console import Group

    with db.engine.connect() as connection:
        clients: Sequence[Any] = connection.exec_driver_sql(_CLIENTS, (_OWN_NAME,)).all()
        server: Any = connection.exec_driver_sql(_SERVER).one()
    parts: list[RenderableType] = [_connections(clients, server)]
    hidden = sum(client[-1] for client in clients)
    if hidden:
        parts.append(f"{hidden} of them belong to other roles, who hide what they do: GRANT pg_read_all_stats TO this role")
    if warm:
        parts.append(_numbers(db.pool.stats()))
    return Group(*parts)


def _connections(clients: Sequence[Any], server: Any) -> RenderableType:
    from rich.table import Table

    name, used, usable = server
    table = Table(title=f"{name}: {used} of the server's {usable} connections are in use", title_justify="left")
    for number, column in enumerate(_COLUMNS):
        table.add_column(column, justify="left" if number < 2 else "right")
    for application, place, *counts, longest, oldest, _ in clients:
        table.add_row(application, place, *map(str, counts), _time(longest), _time(oldest))
    return table


def _numbers(stats: PoolStats) -> RenderableType:
    from rich.table import Table

    table = Table(title="a pool with these settings, opened here", title_justify="left", show_header=False)
    sizes = f"{stats.size} (of {stats.min_size} to {stats.max_size})"
    table.add_row("connections", f"{sizes}, {stats.in_use} in use, {stats.idle} idle")
    table.add_row("opened", f"{stats.opened}, {stats.failed_opens} in vain, {stats.failed_checks} found dead")
    table.add_row("to open one", _time(stats.connecting_seconds / max(1, stats.opened + stats.failed_opens)))
    table.add_row("borrows", f"{stats.acquired}, {stats.timeouts} timed out")
    table.add_row("waited", f"median {_time(stats.wait.p50)}, longest {_time(stats.wait.max)}")
    table.add_row("held", f"median {_time(stats.use.p50)}, longest {_time(stats.use.max)}")
    return table


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.2g} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
