"""CacheStats: what a cache did, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CacheStats"]


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache did since it was opened.

    Attributes:
        hits: Values served from memory.
        stale_hits: Of these, served while a fresh one was fetched.
        misses: Values that were not in memory.
        waited: Of these, fetched by somebody else meanwhile.
        shared_hits: Of these, found in Redis.
        primed: Values fetched before anybody asked.
        fills: Values kept.
        refused: Values not kept because a write came in between, or because it could not be known what they were read from.
        spoiled: Values dropped because of a write.
        evicted: Values dropped to make room.
        oversized: Values larger than the whole cache.
        unshared: Values that cannot be sent to Redis.
        entries: Values there now.
        bytes: What they take.
        shared_errors: Times that Redis did not answer, or answered something else.
        listening: Whether writes of other processes are heard. Where they should be and are not, nothing is served or kept.
        restarts: Times that everything was dropped because something may have gone unheard.
    """

    hits: int = 0
    stale_hits: int = 0
    misses: int = 0
    waited: int = 0
    shared_hits: int = 0
    primed: int = 0
    fills: int = 0
    refused: int = 0
    spoiled: int = 0
    evicted: int = 0
    oversized: int = 0
    unshared: int = 0
    entries: int = 0
    bytes: int = 0
    shared_errors: int = 0
    listening: bool = False
    restarts: int = 0

    @property
    def hit_ratio(self) -> float:
        """Which part of the values came without a query, 0 to 1."""
        asked = self.hits + self.misses
        return (self.hits + self.shared_hits) / asked if asked else 0.0
