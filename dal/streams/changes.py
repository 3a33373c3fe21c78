"""Changes: what `db.changes(...)` returns; a stream that can also be read in a loop, change by change."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from dal.errors import ReplicationError
from dal.streams.change import Change
from dal.streams.source import Source
from dal.streams.stream import Description, Stream
from dal.streams.waiting import ThreadWaiting, Waiting

__all__ = ["READ_AHEAD", "Changes", "Reading"]

READ_AHEAD = 1_000
"""About how many changes are read ahead of a loop."""
_LONG = 3600.0


class Reading:
    """One loop over a stream, which another thread may end.

    Args:
        source: What is read.
        waiting: How it waits.
    """

    def __init__(self, source: Source, waiting: Waiting) -> None:
        self.source, self.waiting = source, waiting
        self._busy = threading.Lock()

    def more(self) -> list[Change]:
        """Return the next changes; none when it is over."""
        with self._busy:
            found: list[Change] = []
            while not found and not self.waiting.stopped:
                found = self.source.read(READ_AHEAD, _LONG)
            return found

    def close(self) -> None:
        """End the loop: a thread that waits in it leaves it."""
        self.waiting.stop()
        with self._busy:
            self.source.close()


class Changes(Stream[Change]):
    """The changes of some classes, in commit order, at least once; made by `db.changes(...)`.

    Loop over it, acknowledging what is done with::

        for change in db.changes(Order, name="billing"):
            book(change.new)
            change.ack()

    or describe what is to be done and run it into a sink: `filter`, `map`, `flat_map`, `enrich`, `window`, `alert`, `batch`,
    `to`. A loop ends with `break`, an exception, or the database's `close()`. It may take its time: where it takes longer than
    the server's wal_sender_timeout, the connection is made anew.

    Args:
        description: How it is opened.
    """

    def __init__(self, description: Description) -> None:
        super().__init__(description)
        self._readings: set[Reading] = set()

    def __iter__(self) -> Iterator[Change]:
        opening = self._description.opening
        waiting = ThreadWaiting()
        reading = Reading(opening.source(waiting), waiting)
        opening.register(reading)
        self._readings.add(reading)
        try:
            try:
                reading.source.start(None)
            except ReplicationError:
                # Told to stop while the slot was being made, for which the server waits.
                if waiting.stopped:
                    return
                raise
            while found := reading.more():
                yield from found
        finally:
            self._readings.discard(reading)
            reading.close()

    def stop(self) -> None:
        """End every loop over these changes, also one that waits; may be called from another thread."""
        for reading in list(self._readings):
            reading.waiting.stop()

    def create(self) -> None:
        """Make publication and slot now: changes that are committed from here on will be in the stream.

        Looping and `to()` do so by themselves.

        Raises:
            ReplicationError: The server or a table cannot give the stream.
        """
        source = self._description.opening.source(ThreadWaiting())
        try:
            source.prepare()
        finally:
            source.close()

    def drop(self) -> None:
        """Drop slot, publication and position: the server keeps nothing for the stream any more.

        Raises:
            ReplicationError: Somebody reads it now.
        """
        self._description.opening.source(ThreadWaiting()).drop()
