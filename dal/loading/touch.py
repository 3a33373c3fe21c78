"""A touch: an application reads an attribute that is not loaded, of an object that carries a policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.orm import InstanceState, Mapper, Session

__all__ = ["Batch", "Kind", "Touch"]

Kind = Literal["relationship", "column", "expired"]


class Batch:
    """What the objects of one result share: being loaded together makes them peers.

    Args:
        touches: How often each attribute of this result was loaded on demand.
    """

    __slots__ = ("touches",)

    def __init__(self) -> None:
        self.touches: dict[object, int] = {}

    def __reduce__(self) -> tuple[type[Batch], tuple[()]]:
        return Batch, ()


@dataclass(frozen=True, slots=True)
class Touch:
    """One read of something that is not there.

    Args:
        state: SQLAlchemy's state of the object.
        session: The session it lives in.
        batch: The result it came in.
        kind: A relationship, a deferred column, or columns that are expired or lie in a sub-table.
        keys: The attributes to load: one, or the group or all that are expired.
        autoflush: Whether pending changes may be flushed before the load.
        stock: SQLAlchemy's own loader.
    """

    state: InstanceState[Any]
    session: Session
    batch: Batch | None
    kind: Kind
    keys: frozenset[str]
    autoflush: bool
    stock: Callable[[], Any]

    @property
    def key(self) -> str:
        """The attribute, or the first of several by name."""
        return min(self.keys)

    @property
    def mapper(self) -> Mapper[Any]:
        """The mapper of the object."""
        return self.state.mapper

    @property
    def name(self) -> str:
        """The attribute as people write it: `User.orders`."""
        return f"{self.state.class_.__name__}.{self.key}"
