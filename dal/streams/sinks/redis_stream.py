"""A Redis Stream: the log that many read, each at its own pace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dal._extras import require
from dal.errors import UsageError
from dal.streams.sinks.base import Setting
from dal.streams.sinks.jsoned import json_text

__all__ = ["RedisStream"]


class RedisStream:
    """Adds items to a Redis Stream: an entry each, with the field `data` in JSON; a batch is added whole or not at all.

    Delivery is at least once: a change carries its `position` to know a second one by.

    Args:
        url: Redis's URL, such as `"redis://localhost/0"`.
        stream: The key of the stream.
        max_entries: About how many entries are kept, the newest; None for all.

    Raises:
        MissingExtra: `dal[redis]` is not installed.
    """

    def __init__(self, url: str, stream: str, *, max_entries: int | None = 1_000_000) -> None:
        if not isinstance(url, str) or not isinstance(stream, str) or not stream:
            raise UsageError("a Redis Stream has a URL and a name", hint='RedisStream("redis://localhost", "orders")')
        self._redis = require("redis", extra="redis", purpose="a Redis Stream")
        self._url, self._stream, self._most = url, stream, max_entries
        self._client: Any = None
        self._settle: Any = None

    def open(self, setting: Setting) -> None:
        """Connect."""
        self.close()
        self._client = self._redis.Redis.from_url(self._url, socket_timeout=10, socket_connect_timeout=10)

    def write(self, items: Sequence[Any]) -> None:
        """Add the items.

        Raises:
            ConnectionError: Redis does not answer; the flow tries again.
        """
        try:
            with self._client.pipeline(transaction=True) as pipeline:
                for item in items:
                    pipeline.xadd(self._stream, {"data": json_text(item)}, maxlen=self._most, approximate=True)
                pipeline.execute()
        except (self._redis.ConnectionError, self._redis.TimeoutError, self._redis.BusyLoadingError) as error:
            raise ConnectionError(f"Redis does not answer: {error}") from error

    def commit(self) -> None:
        """Do nothing: Redis has answered."""

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
