"""What follows what: counts of transitions, bounded in contexts and in successors of each.

The 2,000 contexts used last are kept. Each counts its 8 most frequent successors by space-saving (Metwally, Agrawal and El
Abbadi, 2005): a newcomer takes the place of the rarest and inherits its count as possible error, so that a frequent successor
is never missed and no estimate is too high by more than that error. All counts are halved every 10,000 visits, so that old
habits fade.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dal.prefetch.bounded import Bounded

__all__ = ["Context", "Edge", "Transitions"]

CONTEXTS, SUCCESSORS, HALVE_EVERY = 2000, 8, 10_000
_BEFORE_TAKEN, _BEFORE_NOT, _TWICE = 1.0, 3.0, 2

C = TypeVar("C", bound=Hashable)
S = TypeVar("S", bound=Hashable)


@dataclass(slots=True)
class Edge(Generic[S]):
    """A successor of a context: how often, of which `error` may belong to others."""

    successor: S
    count: int = 0
    error: int = 0


class Context(Generic[S]):
    """What has followed one context."""

    __slots__ = ("edges", "times")

    def __init__(self) -> None:
        self.times = 0
        self.edges: dict[S, Edge[S]] = {}

    def follow(self, successor: S) -> None:
        """Count a successor."""
        edge = self.edges.get(successor)
        if edge is None:
            edge = Edge(successor)
            if len(self.edges) >= SUCCESSORS:
                rarest = min(self.edges.values(), key=lambda each: each.count)
                del self.edges[rarest.successor]
                edge.count = edge.error = rarest.count
            self.edges[successor] = edge
        edge.count += 1

    def probability(self, edge: Edge[S]) -> float:
        """Return how likely an edge is taken: by a Beta(1, 3) that has seen this context; 0 for what came only once."""
        certain = edge.count - edge.error
        if certain < _TWICE:
            return 0.0
        return (certain + _BEFORE_TAKEN) / (self.times + _BEFORE_TAKEN + _BEFORE_NOT)

    def likeliest(self) -> list[Edge[S]]:
        """Return the edges, the likeliest first."""
        return sorted(self.edges.values(), key=lambda edge: edge.error - edge.count)

    def halve(self) -> None:
        """Halve all counts, and drop what becomes nothing."""
        self.times //= 2
        for edge in list(self.edges.values()):
            edge.count //= 2
            edge.error //= 2
            if not edge.count:
                del self.edges[edge.successor]


class Transitions(Generic[C, S]):
    """The contexts, and what has followed each."""

    def __init__(self) -> None:
        self.contexts: Bounded[C, Context[S]] = Bounded(CONTEXTS)
        self._seen = 0

    def visit(self, context: C) -> Context[S]:
        """Count a visit to a context and return what has followed it."""
        self._seen += 1
        if self._seen % HALVE_EVERY == 0:
            for each in self.contexts.values():
                each.halve()
        found = self.contexts.get_or_make(context, Context)
        found.times += 1
        return found

    def follow(self, context: C, successor: S) -> None:
        """Count what followed a context, if it is still known."""
        found = self.contexts.get(context)
        if found is not None:
            found.follow(successor)
