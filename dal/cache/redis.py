"""Redis or Valkey as the second level: bytes by name, and nothing that anything depends on.

What is wrong with it (gone, slow, paused, full, garbage in it) makes the program slower by `timeout` at the most, and then a
breaker leaves it alone. Whether a value found there may still be used is not asked there: each carries its snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from typing import Any

from dal._extras import require
from dal.cache import _internals
from dal.cache.breaker import Breaker
from dal.cache.settings import RedisCache
from dal.durations import seconds
from dal.errors import ConfigError

__all__ = ["RemoteStore"]

_log = logging.getLogger("dal.cache")


class RemoteStore:
    """Bytes by name.

    Args:
        settings: Where it is, and how long it may take.
        is_async: Whether its commands are awaited.

    Raises:
        MissingExtra: redis-py is not installed.
        ConfigError: The URL cannot be read.
    """

    def __init__(self, settings: RedisCache, *, is_async: bool) -> None:
        self.errors = 0
        self._settings = settings
        self._is_async = is_async
        self._breaker = Breaker()
        self._timeout, self._ttl = seconds(settings.timeout, name="timeout"), seconds(settings.ttl, name="ttl")
        package = "redis.asyncio" if is_async else "redis"
        self._module: Any
        self._module, self._retry, self._backoff = (
            require(each, extra="redis", purpose="RedisCache") for each in (package, f"{package}.retry", "redis.backoff")
        )
        self._clients: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._own = None if is_async else self._client()

    def get(self, name: str) -> bytes | None:
        """Return what is there; None where nothing is, or nobody answers."""
        found = self._ask(lambda client: client.get(name))
        return found if isinstance(found, bytes) else None

    def put(self, name: str, data: bytes) -> None:
        """Leave something there, if somebody answers."""
        milliseconds = int(self._ttl * 1000)
        if len(data) <= self._settings.max_value:
            self._ask(lambda client: client.set(name, data, px=max(1, milliseconds)))

    def close(self) -> None:
        """Close the connections."""
        try:
            if self._own is not None:
                self._own.close()
            elif self._is_async:
                client = self._clients.pop(asyncio.get_running_loop(), None)
                if client is not None:
                    _internals.wait_for(client.aclose())
        except Exception:
            _log.debug("closing the connections to Redis failed", exc_info=True)

    def _ask(self, command: Callable[[Any], Any]) -> Any:
        if not self._breaker.allows():
            return None
        try:
            if self._is_async:
                bound = 2 * self._timeout
                answer = _internals.wait_for(asyncio.wait_for(command(self._of_loop()), bound))
            else:
                answer = command(self._own)
        except Exception as error:
            # Whatever is wrong with it, the database has the answer.
            self.errors += 1
            self._breaker.failed()
            _log.warning("Redis does not answer, and is left alone for a while: %s", error)
            return None
        self._breaker.worked()
        return answer

    def _of_loop(self) -> Any:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = self._client()
        return client

    def _client(self) -> Any:
        scheme, rest = self._settings.url.split("://", 1)
        once = self._retry.Retry(self._backoff.NoBackoff(), 0)
        try:
            return self._module.Redis.from_url(
                f"{scheme.replace('valkey', 'redis')}://{rest}",
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                retry=once,
            )
        except ValueError as error:
            raise ConfigError(f"RedisCache: the URL cannot be read ({error})", hint="write redis://host:6379/0") from None
