"""The ledger: which prefetches wait to be used, and what became of the others.

A prefetch is used at the first demand for something it loaded that is answered without a statement, and wasted when a demand
needed one after all (it was spoiled or evicted), when nobody asked within its patience, or when more than 1,024 wait.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable

from dal.prefetch.decisions import Note, Outcome, Prefetch
from dal.prefetch.requests import Request

__all__ = ["Ledger"]

WAITING, REMEMBERED = 1024, 256


class Ledger:
    """Book prefetches and decisions; driven under the prefetcher's lock.

    Args:
        patience: How long a prefetch may wait to be used, in seconds.
        settled: Called with each prefetch that was sent, once it is known what became of it.
    """

    def __init__(self, patience: float, settled: Callable[[Prefetch], None]) -> None:
        self.outcomes: dict[str, Counter[Outcome]] = {}
        self._patience = patience
        self._settled = settled
        self._waiting: OrderedDict[int, Prefetch] = OrderedDict()
        self._of: dict[Request, Prefetch] = {}
        self._notes: deque[Note] = deque(maxlen=REMEMBERED)

    @property
    def waiting(self) -> int:
        """How many prefetches are in flight or wait to be used."""
        return len(self._waiting)

    def in_flight(self, request: Request) -> bool:
        """Tell whether something is being loaded ahead."""
        prefetch = self._of.get(request)
        return prefetch is not None and prefetch.outcome == "in flight"

    def forget_flights(self) -> None:
        """Book that what is in flight will not land."""
        for prefetch in list(self._waiting.values()):
            if prefetch.outcome == "in flight":
                self.settle(prefetch, "not needed")

    def lost(self, request: Request) -> None:
        """Book that what was loaded ahead is not in the cache any more: spoiled by a write, or evicted."""
        prefetch = self._of.get(request)
        if prefetch is not None:
            self.settle(prefetch, "wasted")

    def remember(self, note: Note) -> None:
        """Keep a decision among the latest 256."""
        self._notes.append(note)

    def notes(self) -> list[Note]:
        """Return the latest decisions, the newest last."""
        return list(self._notes)

    def send(self, prefetch: Prefetch) -> None:
        """Book a prefetch that is sent."""
        self._waiting[id(prefetch)] = prefetch
        self._of.update(dict.fromkeys(prefetch.requests, prefetch))
        if len(self._waiting) > WAITING:
            self.settle(next(iter(self._waiting.values())), "wasted")

    def settle(self, prefetch: Prefetch, outcome: Outcome) -> None:
        """Book what became of a prefetch, if that is not known yet."""
        if self._waiting.pop(id(prefetch), None) is None:
            return
        prefetch.outcome = outcome
        for request in prefetch.requests:
            if self._of.get(request) is prefetch:
                del self._of[request]
        self.outcomes.setdefault(prefetch.strategy, Counter())[outcome] += 1
        self._settled(prefetch)

    def demand(self, request: Request, *, sent: bool) -> Prefetch | None:
        """Book that something was asked for; return the prefetch that had loaded it.

        Args:
            request: What.
            sent: Whether a statement was needed.
        """
        prefetch = self._of.get(request)
        if prefetch is not None:
            late = sent and prefetch.outcome == "in flight"
            self.settle(prefetch, "not needed" if late else "wasted" if sent else "used")
        return prefetch

    def expire(self, now: float) -> None:
        """Give up prefetches that nobody has asked for within the patience."""
        while self._waiting:
            oldest = next(iter(self._waiting.values()))
            if now - oldest.sent_at <= self._patience or oldest.outcome == "in flight":
                return
            self.settle(oldest, "wasted")
