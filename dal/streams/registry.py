"""The streams of one database: made here, told of here, and closed here with it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Literal, Protocol

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dal.durations import Duration, seconds
from dal.errors import UnsupportedError, UsageError
from dal.streams.change import Kind
from dal.streams.options import SlotOptions
from dal.streams.outbox_source import OutboxSource
from dal.streams.shapes import shapes_of
from dal.streams.slot import checked_name
from dal.streams.slot_source import SlotSource
from dal.streams.source import Source
from dal.streams.steps import Gives
from dal.streams.stream import Description, Opening
from dal.streams.waiting import Waiting

__all__ = ["ALL_KINDS", "Streams", "Via"]

Via = Literal["slot", "outbox"]
ALL_KINDS: tuple[Kind, ...] = ("insert", "update", "delete", "truncate")


class Closing(Protocol):
    """What has to be closed with the database."""

    def close(self) -> None:
        """Close it; again is nothing."""
        ...


class Streams:
    """Makes the streams of a database.

    Args:
        engine: Its engine.
        sessions: Makes its sessions, for look-ups.
        retry_attempts: How often the first connection is tried again.
        retry_delay: The first pause between two tries, in seconds.
        tell: Called with a fact for each new try.
    """

    def __init__(
        self,
        engine: Engine,
        sessions: Callable[[], Session],
        *,
        retry_attempts: int,
        retry_delay: float,
        tell: Callable[[object], None] | None = None,
    ) -> None:
        self._engine, self._sessions = engine, sessions
        self._attempts, self._delay, self._tell = retry_attempts, retry_delay, tell
        self._running: weakref.WeakSet[Any] = weakref.WeakSet()

    def describe(
        self,
        entities: Sequence[Any],
        *,
        name: str | None,
        kinds: Collection[Kind],
        old: Literal["key", "full"],
        via: Via,
        publication: str | None,
        takeover: Duration,
    ) -> Description:
        """Check what is asked for and describe the stream; see `Database.changes`."""
        shapes = shapes_of(entities)
        checked_name(name)
        unknown = sorted(set(kinds) - set(ALL_KINDS))
        if unknown or not kinds or isinstance(kinds, str):
            raise UsageError(f"kinds={kinds!r}: kinds of changes are {', '.join(ALL_KINDS)}", hint='kinds=("insert", "update")')
        if old not in {"key", "full"} or via not in {"slot", "outbox"}:
            raise UsageError(
                'old= is "key" or "full", via= is "slot" or "outbox"', hint='db.changes(Order, name="x", via="slot")'
            )
        if via == "outbox" and name is None:
            raise UsageError("an outbox is read by name", hint='db.changes(Order, name="billing", via="outbox")')
        if self._engine.dialect.name != "postgresql":
            raise UnsupportedError(
                f"change streams need PostgreSQL, not {self._engine.dialect.name}", hint="poll a column of your own instead"
            )
        options = SlotOptions(
            kinds=frozenset(kinds),
            full=old == "full",
            publication=publication,
            takeover=seconds(takeover, name="takeover"),
            retry_attempts=self._attempts,
            retry_delay=self._delay,
        )

        def source(waiting: Waiting) -> Source:
            if via == "outbox":
                return OutboxSource(self._engine, shapes, name or "", options, waiting, self._tell)
            return SlotSource(self._engine, shapes, name, options, waiting, self._tell)

        return Description(
            Opening(
                name or "temporary",
                self._engine,
                self._sessions,
                source,
                self._running.add,
                self._delay,
                self._tell,
                # Which of several comes, a filter may know; which columns a publication has, its maker.
                Gives(shapes[0].names) if len(shapes) == 1 and publication is None and {*kinds} - {"delete"} else None,
            )
        )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Tell of the flows that failed, and what to do."""
        for each in list(self._running):
            stats = getattr(each, "stats", None)
            if stats is not None and stats().state == "failed":
                yield f"the change stream {each.name!r} has ended: {stats().error}", "mend the cause and start it again"

    def running(self) -> list[Any]:
        """Return what has to be closed."""
        return list(self._running)

    def close(self) -> None:
        """Stop everything, and wait for it."""
        for each in self.running():
            each.close()


def streams_of(engine: Engine, sessions: Callable[[], Session], trying: Any) -> Streams:
    """Make the streams of a database.

    Args:
        engine: Its engine.
        sessions: Makes its sessions.
        trying: How its units are run again: the settings, and who is told.
    """
    settings = trying.settings
    return Streams(engine, sessions, retry_attempts=settings.retry_attempts, retry_delay=settings.retry_delay, tell=trying.tell)
