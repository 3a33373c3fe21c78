"""What happens at the first touch of an attribute that the query did not load: the `otherwise` of a policy.

A mode is a small value with one method. `Lazy` leaves it to SQLAlchemy; its siblings are `Batched` (batched.py: load it for
all objects of the same result) and `Strict` (strict.py: refuse and name the line to write). `LazyRelationships` is what a
statement's own `lazyload("*")` makes of any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from dal.loading import _internals
from dal.loading.touch import Touch

__all__ = ["Lazy", "LazyRelationships", "Mode"]


class Mode(Protocol):
    """How an attribute that was not loaded is loaded when it is touched."""

    @property
    def name(self) -> str:
        """The word for it in errors and configuration files."""
        ...

    def load(self, touch: Touch) -> Any:
        """Answer a touch: load, refuse, or leave it to SQLAlchemy with `touch.stock()`."""
        ...


@dataclass(frozen=True, slots=True)
class Lazy:
    """One SELECT for each touch: what SQLAlchemy does by default."""

    name: str = "lazy"

    def load(self, touch: Touch) -> Any:
        """Leave the load to SQLAlchemy."""
        if touch.kind == "relationship":
            _internals.shorten_paths([touch.state])
        return touch.stock()


@dataclass(frozen=True, slots=True)
class LazyRelationships:
    """One SELECT for each touch of a relationship; columns are left to another mode.

    Args:
        columns: The other mode.
    """

    columns: Mode

    @property
    def name(self) -> str:
        """The word for it in errors and configuration files."""
        return self.columns.name

    def load(self, touch: Touch) -> Any:
        """Leave a relationship to SQLAlchemy, and a column to the other mode."""
        return (Lazy() if touch.kind == "relationship" else self.columns).load(touch)
