"""How a stream is read."""

from __future__ import annotations

from dataclasses import dataclass

from dal.streams.change import Kind

__all__ = ["SlotOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotOptions:
    """How a slot is read.

    Args:
        kinds: The kinds of changes wanted.
        full: Whether `old` has to be the whole row.
        publication: A publication made by somebody else.
        takeover: Seconds to wait for a slot, or a walsender, that another consumer still has.
        retry_attempts: How often the first connection is tried again.
        retry_delay: The first pause between two tries, in seconds.
    """

    kinds: frozenset[Kind]
    full: bool = False
    publication: str | None = None
    takeover: float = 10.0
    retry_attempts: int = 3
    retry_delay: float = 1.0
