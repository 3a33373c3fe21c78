"""What was asked, what may be asked next, and what a strategy thinks of it: the values that strategies work on.

They hold no statement and no connection, so that every strategy is a pure, bounded data structure that a test can drive.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

__all__ = ["Direction", "Model", "Request", "Seen", "Strategy", "Thought", "Timed"]

Direction = Literal["first", "forwards", "backwards"]


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that can be asked: a page, an object by its key, or a cell of a map.

    Args:
        template: The fingerprint of what is asked: statement, order, size and policy, without its values.
        arguments: The values of its parameters, by name.
        position: Where in the answer: a cursor, a key or a cell; None is the start.
    """

    template: str
    arguments: tuple[tuple[str, Hashable], ...] = ()
    position: Hashable | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A demand that was answered.

    Args:
        client: Who asked, or None where nobody said.
        request: What was asked.
        direction: How it was walked to.
        following: The page after it, if there is one.
        preceding: The page before it, if there is one.
        row: The values of its first row by column, from which later parameters may come.
        nearby: What lies around it, the nearest first.
        made_of: The requests whose answers it was put together from, where that is more than itself.
        at: When, in seconds since 1970.
    """

    client: Hashable | None
    request: Request
    direction: Direction = "first"
    following: Request | None = None
    preceding: Request | None = None
    row: Mapping[str, Hashable] = field(default_factory=dict)
    nearby: tuple[Request, ...] = ()
    made_of: tuple[Request, ...] = ()
    at: float = 0.0

    @property
    def parts(self) -> tuple[Request, ...]:
        """The requests whose answers it is: itself, or what it was put together from."""
        return self.made_of or (self.request,)


@dataclass(frozen=True, slots=True)
class Thought:
    """What a strategy makes of a demand.

    Args:
        why: In words, with the numbers it rests on.
        requests: What to load, in one statement; none where the strategy sees no reason to.
        probability: How likely it is asked for.
    """

    why: str
    requests: tuple[Request, ...] = ()
    probability: float = 0.0


class Model(Protocol):
    """What a strategy has learned. It is driven under the prefetcher's lock, and bounded in size."""

    def observe(self, seen: Seen) -> list[Thought]:
        """Learn from a demand and tell what may be asked next."""
        ...


@runtime_checkable
class Timed(Protocol):
    """A model that has thoughts at certain times, without a demand."""

    def next_due(self, at: float) -> float:
        """Tell when, in seconds since 1970."""
        ...

    def due(self, at: float) -> list[Thought]:
        """Return what to load now."""
        ...


class Strategy(Protocol):
    """A strategy as it is written down: a small value; equal ones of a database share what they learn."""

    @property
    def name(self) -> str:
        """Its name in `stats()` and `explain()`."""
        ...

    def __hash__(self) -> int:
        """Return the same for equal strategies."""
        ...

    def begin(self) -> Model:
        """Make a model that has learned nothing yet."""
        ...
