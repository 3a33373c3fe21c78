"""sequential(): the next page, once somebody walks.

On the second page in a row the third is loaded, and so on; on a first page the second is loaded already where most visitors
of that list went on. Where most stop, it stops too. One page ahead, backwards as well. It suits lists that are read in
order; for going from one list to another see `predictive()`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dal.prefetch.requests import Model, Seen, Thought
from dal.prefetch.settings import share
from dal.prefetch.streams import Rates, Stream, Streams

__all__ = ["Sequential", "sequential"]

_ENOUGH_FOR_FIRST, _ENOUGH_TO_STOP, _STOP_BELOW = 10, 20, 0.5


@dataclass(frozen=True, kw_only=True)
class Sequential:
    """The strategy as it is written down; made by `sequential()`."""

    first_page_from: float
    name: str = "sequential"

    def begin(self) -> Model:
        """Make a model that has learned nothing yet."""
        return _Walks(self.first_page_from)


def sequential(*, first_page_from: float = 0.6) -> Sequential:
    """Load the next page ahead, for visitors who walk.

    Args:
        first_page_from: The share of visitors who went on from the first page, from which on its next page is loaded at once.

    Returns:
        The strategy, for `db.pager(prefetch=...)`.

    Raises:
        UsageError: The share is not between 0 and 1.

    Example:
        >>> sequential().name
        'sequential'
    """
    return Sequential(first_page_from=share(first_page_from, "first_page_from"))


class _Walks:
    def __init__(self, first_page_from: float) -> None:
        self._streams = Streams()
        self._first_page_from = first_page_from

    def observe(self, seen: Seen) -> list[Thought]:
        stream, rates = self._streams.advance(seen)
        ahead = stream.preceding if stream.direction == "backwards" else stream.following
        if ahead is None:
            return [Thought("nothing follows in this direction")]
        if stream.direction == "backwards":
            return [Thought(f"page {stream.depth} in a row, backwards", (ahead,), 0.75)]
        verdict = self._first(rates) if stream.depth == 1 else _further(stream, rates)
        return [Thought(verdict.why, (ahead,), verdict.probability)] if verdict.probability else [verdict]

    def _first(self, rates: Rates) -> Thought:
        went_on, reached = rates.of(1)
        told = f"{went_on} of {reached} visitors went on from the first page"
        if reached < _ENOUGH_FOR_FIRST:
            return Thought(f"a first page; {told}, too few to tell")
        if went_on < reached * self._first_page_from:
            return Thought(f"a first page; {told}, fewer than {self._first_page_from:.0%}")
        return Thought(told, probability=went_on / reached)


def _further(stream: Stream, rates: Rates) -> Thought:
    went_on, reached = rates.of(stream.depth)
    told = f"page {stream.depth} in a row; {went_on} of {reached} visitors went on from there"
    if reached >= _ENOUGH_TO_STOP and went_on < reached * _STOP_BELOW:
        return Thought(f"{told}, fewer than {_STOP_BELOW:.0%}")
    # Before anything is known, whoever has walked two pages is taken to go on three times out of four.
    return Thought(told, probability=(went_on + 3) / (reached + 4))
