"""Where changes come from, seen by those who read them: a slot of the server, or an outbox table."""

from __future__ import annotations

from typing import Protocol

from dal.streams.change import Change

__all__ = ["Source"]


class Source(Protocol):
    """A stream of whole transactions, read in pieces.

    Attributes:
        stream: The stream's name.
        origin: Which server and database it comes from; known once it is prepared.
    """

    stream: str
    origin: str

    @property
    def mark(self) -> str:
        """Where the last transaction that was read completely ends; a later `start(mark)` goes on behind it."""
        ...

    @property
    def between(self) -> bool:
        """Whether no transaction is half read."""
        ...

    @property
    def clock(self) -> float:
        """The server's time, in seconds since 1970, up to which everything committed was read; 0 where unknown."""
        ...

    def prepare(self) -> None:
        """Make what the stream needs on the server, and check it; again is nothing."""
        ...

    def start(self, after: str | None) -> None:
        """Connect, and begin behind a mark; None: behind what was acknowledged."""
        ...

    def read(self, limit: int, seconds: float) -> list[Change]:
        """Return the next changes as soon as there are some, at most about `limit`; none after that time or when stopped."""
        ...

    def ask_clock(self) -> None:
        """Ask the server for its time; `clock` has it after one of the next reads."""
        ...

    def acknowledge(self, change: Change) -> None:
        """Note that everything up to a change is done with."""
        ...

    def acknowledge_all(self) -> None:
        """Note that everything read so far is done with."""
        ...

    def lag(self) -> int:
        """Bytes of log, or rows of an outbox, that were seen and are not done with."""
        ...

    def drop(self) -> None:
        """Remove what the stream left on the server, its position too."""
        ...

    def close(self) -> None:
        """Tell the server what is done with, and disconnect."""
        ...
