"""Where a flow ends: what takes items, and is told when a whole transaction is in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from sqlalchemy import Engine

from dal.streams.marks import Kept

__all__ = ["Keeping", "Setting", "Sink"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a sink is told when it opens.

    Attributes:
        stream: The stream's name.
        origin: Which server and database the stream comes from.
        engine: The engine of the stream's database.
        settle: Awaits what a caller's function returned, through the asyncio door.
        stats: Tells how the flow is doing.
    """

    stream: str
    origin: str
    engine: Engine
    settle: Callable[[Any], Any]
    stats: Callable[[], Any]


class Sink(Protocol):
    """Takes items. What it was given is certain only after `commit`; after an error it is given again."""

    def open(self, setting: Setting) -> None:
        """Get ready."""
        ...

    def write(self, items: Sequence[Any]) -> None:
        """Take items, of one or more transactions, or of a part of one."""
        ...

    def commit(self) -> None:
        """Make certain what was written: whole transactions are in. ConnectionError and TimeoutError are tried again."""
        ...

    def close(self) -> None:
        """Let go of everything; what was written and not committed may be dropped."""
        ...


@runtime_checkable
class Keeping(Protocol):
    """A sink that keeps the position itself, in one transaction with the items: they are in it exactly once."""

    def kept(self) -> Kept | None:
        """Return what was kept last."""
        ...

    def commit_at(self, kept: Kept) -> None:
        """Make certain what was written, and where the flow then stands."""
        ...

    def undo(self) -> None:
        """Take back what was written and not committed."""
        ...
