"""What happens at the first touch of an attribute that the query did not load: the `otherwise` of a policy.

A mode is a small value with one method. `Lazy` and `Mapped` leave it to SQLAlchemy; their siblings are `Batched`
(batched.py: load it for all objects of the same result) and `Strict` (strict.py: refuse and name the line to write).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from dal.loading.touch import Touch

__all__ = ["Lazy", "Mode"]


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
        return touch.stock()
