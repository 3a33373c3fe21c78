"""Posts items to a URL, for alerts above all."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from dal.durations import Duration, seconds
from dal.errors import ReplicationError, UsageError
from dal.streams.sinks.base import Setting
from dal.streams.sinks.jsoned import json_text

__all__ = ["Webhook"]


class Webhook:
    """Posts each item as JSON; at least once, in order.

    An answer of 5xx, 408 or 429, or none, is tried again with growing pauses; any other refusal stops the flow.

    Args:
        url: Where to; http or https.
        headers: Further headers, such as a token; they are never shown.
        timeout: How long an answer may take.

    Raises:
        UsageError: The URL is neither.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None, timeout: Duration = 10.0) -> None:
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise UsageError("a webhook's URL begins with http:// or https://", hint="Webhook('https://...')")
        self._url = url
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._timeout = seconds(timeout, name="timeout")

    def open(self, setting: Setting) -> None:
        """Do nothing."""

    def write(self, items: Sequence[Any]) -> None:
        """Post the items.

        Raises:
            ConnectionError: There was no answer, or one that says to try again.
            ReplicationError: The receiver refuses.
        """
        for item in items:
            request = urllib.request.Request(self._url, json_text(item).encode(), self._headers, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=self._timeout):
                    pass
            except urllib.error.HTTPError as error:
                error.close()
                if error.code >= 500 or error.code in {408, 429}:
                    raise ConnectionError(f"the webhook answered {error.code}") from error
                raise ReplicationError(f"the webhook refused: {error.code} {error.reason}", hint="check its URL") from error
            except (urllib.error.URLError, TimeoutError) as error:
                raise ConnectionError(f"the webhook does not answer: {error}") from error

    def commit(self) -> None:
        """Do nothing: every post was answered."""

    def close(self) -> None:
        """Do nothing."""
