"""What a database was told about its replicas: checked at once, acted on when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from dal.config import DatabaseConfig, PoolConfig
from dal.durations import Duration, seconds
from dal.errors import ConfigError

if TYPE_CHECKING:
    from dal.database.replicas import Replicas

__all__ = ["Plan", "planned"]

_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a database was told about its replicas.

    Args:
        url: The primary's URL.
        urls: The replicas' URLs.
        bound: Seconds that a replica may be behind.
        pool: The primary's pool settings; a replica is sooner given up.
        make: Makes an engine.
    """

    url: URL
    urls: Sequence[URL]
    bound: float
    pool: PoolConfig
    make: Callable[[URL, PoolConfig], Engine]

    def begin(self, primary: Engine) -> Replicas:
        """Make the engines of the replicas, and begin to look at them.

        Args:
            primary: The primary's engine.
        """
        from dal.database.replicas import Replicas

        given = {name: getattr(self.pool, name) for name in self.pool.__dataclass_fields__}
        settings = PoolConfig(**{**given, "connection_timeout": min(self.pool.connection_timeout, _PATIENCE)})
        return Replicas(
            primary, [self.make(one, settings) for one in self.urls], url=self.url, urls=self.urls, bound=self.bound
        )


def planned(
    config: DatabaseConfig, replicas: Sequence[str | URL], staleness: Duration, make: Callable[[URL, PoolConfig], Engine]
) -> Plan:
    """Check what a caller says about replicas.

    Args:
        config: The primary's configuration.
        replicas: The replicas' URLs.
        staleness: How far a replica may be behind.
        make: Makes an engine.

    Returns:
        The plan.

    Raises:
        ConfigError: A URL cannot be read, one of the databases is not PostgreSQL, or the staleness is no duration.
    """
    if isinstance(replicas, (str, URL)):
        raise ConfigError("replicas: this is one URL, not a list", hint="replicas=[url]")
    urls = [DatabaseConfig(url=one).url for one in replicas]
    for one in [config.url, *urls] if urls else []:
        if one.get_backend_name() != "postgresql":
            raise ConfigError(
                f"replicas: {one.drivername} has none that dal knows", hint="postgresql+psycopg://user@host/database"
            )
    return Plan(config.url, urls, seconds(staleness, name="staleness"), config.pool, make)
