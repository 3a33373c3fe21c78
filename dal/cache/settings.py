"""What a database caches in: settings, given as `Database(url, cache=...)`, frozen and checked when made.

`MemoryCache` keeps values in the process: the usual choice, and the fastest. `TieredCache` puts a Redis or Valkey behind it
that all processes share, so that what one has read is a copy for the others. `RedisCache` alone suits many short-lived
processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.engine import URL

from dal._values import database_url, positive_duration, whole_number
from dal.durations import Duration, seconds
from dal.errors import ConfigError

__all__ = ["MemoryCache", "RedisCache", "TieredCache"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryCache:
    """A cache in the process: what was not used for longest goes first.

    Args:
        max_bytes: How much memory the values may take.
        max_entries: How many values there may be.
        ttl: How long a value is served, as a bound for what no write tells of; each value's is up to `jitter` shorter.
        stale: How long after that it is still served while one caller in the background fetches it anew.
        jitter: Which part of `ttl` is left to chance, so that values kept together do not end together; 0 to 1.
        listen_url: Where to hear of other processes' writes, if the database's URL leads to a pooler.

    Raises:
        ConfigError: A setting is out of its range.

    Example:
        >>> MemoryCache(max_bytes=64_000_000, ttl="10m").ttl
        600.0
    """

    max_bytes: int = 64_000_000
    max_entries: int = 100_000
    ttl: Duration = 300.0
    stale: Duration = 0.0
    jitter: float = 0.1
    listen_url: str | URL | None = None

    def __post_init__(self) -> None:
        whole_number(self.max_bytes, "max_bytes", at_least=1)
        whole_number(self.max_entries, "max_entries", at_least=1)
        object.__setattr__(self, "ttl", positive_duration(self.ttl, "ttl"))
        if self.listen_url is not None:
            object.__setattr__(self, "listen_url", database_url(self.listen_url))
        object.__setattr__(self, "stale", seconds(self.stale, name="stale"))
        if isinstance(self.jitter, bool) or not isinstance(self.jitter, (int, float)) or not 0 <= self.jitter <= 1:
            raise ConfigError(f"jitter: {self.jitter!r} is not accepted", hint="write a part between 0 and 1, such as 0.1")


@dataclass(frozen=True, slots=True)
class RedisCache:
    """A Redis or Valkey that processes share.

    Nothing depends on it: where it does not answer within `timeout` it is left alone for a while, and the program is slower.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with user, password and number of the database.
        prefix: What its keys begin with.
        ttl: How long a value stays.
        timeout: How long an answer may take.
        max_value: The largest value that is sent, in bytes.
        listen_url: As for `MemoryCache`.

    Raises:
        ConfigError: A setting is out of its range, or the URL is none of Redis.

    Example:
        >>> RedisCache("redis://cache:6379/0", ttl="1h").ttl
        3600.0
    """

    url: str
    prefix: str = "dal"
    ttl: Duration = 3600.0
    timeout: Duration = 0.1
    max_value: int = 1_000_000
    listen_url: str | URL | None = None

    def __post_init__(self) -> None:
        scheme = urlsplit(self.url).scheme if isinstance(self.url, str) else ""
        if scheme not in {"redis", "rediss", "unix", "valkey", "valkeys"}:
            raise ConfigError("RedisCache: this is not the URL of a Redis", hint="write redis://host:6379/0")
        if not isinstance(self.prefix, str) or not self.prefix:
            raise ConfigError(f"prefix: {self.prefix!r} is not accepted", hint="write a text such as 'shop'")
        object.__setattr__(self, "ttl", positive_duration(self.ttl, "ttl"))
        object.__setattr__(self, "timeout", positive_duration(self.timeout, "timeout"))
        whole_number(self.max_value, "max_value", at_least=1)
        if self.listen_url is not None:
            object.__setattr__(self, "listen_url", database_url(self.listen_url))

    def __repr__(self) -> str:
        return f"RedisCache({_masked(self.url)!r})"


@dataclass(frozen=True, slots=True)
class TieredCache:
    """A cache in the process with a shared one behind it.

    Args:
        memory: The first to be asked.
        redis: Asked for what the first does not have.

    Raises:
        ConfigError: They are something else.
    """

    memory: MemoryCache
    redis: RedisCache

    def __post_init__(self) -> None:
        if not isinstance(self.memory, MemoryCache) or not isinstance(self.redis, RedisCache):
            raise ConfigError(
                "TieredCache takes a MemoryCache and a RedisCache",
                hint='TieredCache(MemoryCache(max_bytes=64_000_000), RedisCache("redis://host:6379/0"))',
            )


def tiers(cache: Any) -> tuple[MemoryCache | None, RedisCache | None]:
    """Return the two parts of what was given as a cache.

    Raises:
        ConfigError: It is no cache.
    """
    if isinstance(cache, TieredCache):
        return cache.memory, cache.redis
    if isinstance(cache, MemoryCache):
        return cache, None
    if isinstance(cache, RedisCache):
        return None, cache
    raise ConfigError(f"cache: {cache!r} is not a cache", hint="write cache=MemoryCache(max_bytes=64_000_000)")


def _masked(url: str) -> str:
    parts = urlsplit(url)
    return url if parts.password is None else url.replace(f":{parts.password}@", ":***@")
