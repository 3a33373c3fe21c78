"""When a source that lost its connection tries again, by the table of the pool, and what ends the stream instead."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from dal.errors import DalError, ReplicationError
from dal.events import Retried
from dal.pool.retry import rule_for
from dal.streams.options import SlotOptions
from dal.streams.waiting import Waiting
from dal.streams.wire import CONNECTION_LOST

__all__ = ["Trying"]

_LONGEST = 8


class Trying:
    """The tries of one source since it last heard of the server.

    Args:
        stream: The stream's name.
        options: How often and how fast.
        waiting: How to pause.
        tell: Called with a fact for each new try.
    """

    def __init__(
        self, stream: str, options: SlotOptions, waiting: Waiting, tell: Callable[[object], None] | None = None
    ) -> None:
        self._stream, self._options, self._waiting, self._tell = stream, options, waiting, tell
        self._tries = 0

    def succeeded(self) -> None:
        """Begin to count anew."""
        self._tries = 0

    def pause(self, error: Exception, *, lost: Exception | None = None, at_most: int | None = None) -> None:
        """Pause before the next try.

        Args:
            error: What happened.
            lost: What to raise where a new connection would not help; None where it does.
            at_most: How many tries there are; None: any number.

        Raises:
            ReplicationError: The error is none that passes, or there were tries enough.
            DalError: The same, where the error is dal's own.
        """
        if getattr(error, "sqlstate", None) is None and isinstance(error, psycopg.OperationalError):
            error = CONNECTION_LOST(str(error))
        rule = rule_for(error)
        self._tries += 1
        if rule is None or (at_most is not None and self._tries > at_most):
            if isinstance(error, DalError):
                raise error
            raise ReplicationError(f"the stream {self._stream!r} ended: {error}", hint="see the server's log") from error
        if lost is not None:
            raise lost from error
        seconds = rule.seconds(min(self._tries, _LONGEST), self._options.retry_delay)
        if self._tell is not None:
            self._tell(Retried(self._tries, seconds, error))
        self._waiting.rest(seconds)
