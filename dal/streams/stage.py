"""One step of a flow: takes events and gives events; a window also remembers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Event", "Stage", "Stateless"]

Event = tuple[Any, int]
"""An item, and when it happened in microseconds since 1970: the commit it came with, or the end of the window it is of."""


class Stage(Protocol):
    """A step of a flow."""

    def apply(self, events: list[Event], /) -> list[Event]:
        """Take events and return what comes of them."""
        ...

    def advance(self, clock: int) -> list[Event]:
        """Note that everything up to this time was read; return what is finished by it."""
        ...

    @property
    def waits(self) -> bool:
        """Whether it holds something that only time can finish."""
        ...

    def keep(self) -> Any:
        """Return what has to be remembered over a restart, as plain values; None where nothing has."""
        ...

    def restore(self, kept: Any) -> None:
        """Go on from what `keep()` returned; None: from nothing."""
        ...


class Stateless:
    """A step that remembers nothing.

    Args:
        apply: Takes events and returns what comes of them.
    """

    waits = False

    def __init__(self, apply: Callable[[list[Event]], list[Event]]) -> None:
        self.apply = apply

    def advance(self, clock: int) -> list[Event]:
        """Do nothing: time means nothing to it."""
        return []

    def keep(self) -> Any:
        """Return None: nothing has to be remembered."""
        return None

    def restore(self, kept: Any) -> None:
        """Do nothing."""
