"""One pooled object and what the pool knows about it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from dal.pool.sites import Site

__all__ = ["Entry", "Verdict"]

T = TypeVar("T")


class Verdict(Enum):
    """What a check found: usable, gone, or no answer within the deadline (then nothing idle can be trusted)."""

    ALIVE = auto()
    DEAD = auto()
    SILENT = auto()


def _nothing_happened(_: int) -> bool:
    return False


class Entry(Generic[T]):
    """A pooled object with its times, all on the monotonic clock.

    Attributes:
        thing: The object itself.
        born: When it was made.
        retire_at: From then on it is replaced when it is not in use; 0 means at once.
        surplus: Its `retire_at` while the pool has more than its maximum: the first to come back go, the others stay.
        expires: From then on it is not handed out any more.
        proven: When it last showed that it is alive.
        returned: When it last came back (or was made).
        taken: When it was borrowed; 0 while it is not in use.
        site: The line that borrowed it.
        used: Seconds in use, over all borrows that have ended.
        uses: Borrows that have ended.
        reported: When the borrow began that was logged as a leak.
        statement: What was last done with it in this borrow.
        complaint: Why the last check failed.
        peek: Looks without waiting whether something has happened to it: called with 0, true means look closer.
        probe: What the checks keep with it.
    """

    __slots__ = (
        "born",
        "complaint",
        "expires",
        "peek",
        "probe",
        "proven",
        "reported",
        "retire_at",
        "returned",
        "site",
        "statement",
        "surplus",
        "taken",
        "thing",
        "used",
        "uses",
    )

    def __init__(self, thing: T, now: float) -> None:
        self.thing = thing
        self.born = self.proven = self.returned = now
        self.retire_at = self.expires = float("inf")
        self.taken = self.used = self.surplus = 0.0
        self.uses = 0
        self.site: Site | None = None
        self.statement = self.complaint = ""
        self.peek: Callable[[int], object] = _nothing_happened
        self.reported = 0.0
        self.probe: Any = None
