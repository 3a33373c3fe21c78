"""Who walks where, and how often people go on: what sequential prefetching rests on.

A stream is a visitor on his way through the pages of one list. The table keeps the 1,024 streams used last; for each list it
also keeps how often visitors went on from their first, second, third and later page, halved now and then so that it
follows a change of habits.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from dal.prefetch.bounded import Bounded
from dal.prefetch.requests import Direction, Request, Seen

__all__ = ["Rates", "Stream", "Streams"]

STREAMS, LISTS = 1024, 512
_DEPTHS, _HALVE_AT = 4, 1000


@dataclass(slots=True)
class Stream:
    """A walk: how many pages in a row in one direction, and what would continue it."""

    depth: int
    direction: Direction
    following: Request | None
    preceding: Request | None


@dataclass(slots=True)
class Rates:
    """How often visitors went on, by how deep they were."""

    reached: list[int] = field(default_factory=lambda: [0] * _DEPTHS)
    went_on: list[int] = field(default_factory=lambda: [0] * _DEPTHS)

    def reach(self, depth: int) -> None:
        """Count a visitor who is at a depth, with more to come."""
        at = min(depth, _DEPTHS) - 1
        self.reached[at] += 1
        if self.reached[at] >= _HALVE_AT:
            self.reached[at] //= 2
            self.went_on[at] //= 2

    def go_on(self, depth: int) -> None:
        """Count a visitor who went on from a depth."""
        at = min(depth, _DEPTHS) - 1
        self.went_on[at] = min(self.went_on[at] + 1, self.reached[at])

    def of(self, depth: int) -> tuple[int, int]:
        """Return how many went on from a depth, and how many had reached it."""
        at = min(depth, _DEPTHS) - 1
        return self.went_on[at], self.reached[at]


class Streams:
    """The table of streams, and the rates of each list."""

    def __init__(self) -> None:
        self.streams: Bounded[Hashable, Stream] = Bounded(STREAMS)
        self.lists: Bounded[Hashable, Rates] = Bounded(LISTS)

    def advance(self, seen: Seen) -> tuple[Stream, Rates]:
        """Note a page, and return the walk it belongs to and the rates of its list."""
        rates = self.lists.get_or_make(seen.request.template, Rates)
        stream = _step(seen, self._stream_of(seen), rates)
        self._keep(seen, stream)
        return stream, rates

    def _stream_of(self, seen: Seen) -> Stream | None:
        """Find the walk of a client, or without one the walk that was offered this very page."""
        if seen.client is not None:
            return self.streams.get((seen.client, seen.request.template, seen.request.arguments))
        return self.streams.get(seen.request) if seen.request.position is not None else None

    def _keep(self, seen: Seen, stream: Stream) -> None:
        if seen.client is not None:
            self.streams.put((seen.client, seen.request.template, seen.request.arguments), stream)
            return
        for offered in (seen.following, seen.preceding):
            if offered is not None:
                self.streams.put(offered, stream)


def _step(seen: Seen, known: Stream | None, rates: Rates) -> Stream:
    direction: Direction = "first"
    depth = 1
    if known is not None and seen.request in (known.following, known.preceding):
        direction = "forwards" if seen.request == known.following else "backwards"
        turned = known.direction not in ("first", direction)
        depth = 2 if turned else known.depth + 1
        if direction == "forwards":
            rates.go_on(1 if turned else known.depth)
    if direction != "backwards" and seen.following is not None:
        rates.reach(depth)
    return Stream(depth, direction, seen.following, seen.preceding)
