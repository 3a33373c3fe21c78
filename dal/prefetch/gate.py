"""The gate: whether a prefetch may be sent, and if not, why.

It asks, in this order: is it worth it, are fewer than two in flight, does the pool lie idle, is there budget left, does the
strategy pay. The first "no" is the reason that `explain()` tells. It decides and counts; it sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from dal.prefetch.bounded import Bounded
from dal.prefetch.breaker import Breaker
from dal.prefetch.budget import Budget

__all__ = ["Gate", "Latencies"]

IN_FLIGHT, BREAKERS, TEMPLATES = 2, 512, 512
PRICE = 0.08
"""What a second of an idle connection weighs against a second that a visitor waits."""
_WEIGHT, _DRIFT = 0.2, 0.05


class Latencies:
    """How long the statements of each template take, in seconds: moving averages for demands and for prefetches."""

    def __init__(self) -> None:
        self._demand: Bounded[str, float] = Bounded(TEMPLATES)
        self._prefetch: Bounded[str, float] = Bounded(TEMPLATES)

    def note_demand(self, template: str, seconds: float) -> None:
        """Note how long a demand waited for the database.

        What a prefetch is taken to cost drifts towards that, so that one that was slow by chance is not the last.
        """
        _average(self._demand, template, seconds)
        cost = self._prefetch.get(template)
        if cost is not None:
            self._prefetch.put(template, cost + _DRIFT * (seconds - cost))

    def note_prefetch(self, template: str, seconds: float) -> None:
        """Note how long a prefetch took."""
        _average(self._prefetch, template, seconds)

    def of(self, template: str) -> tuple[float, float]:
        """Return what a hit saves and what a prefetch costs; each stands in for the other while it is not known."""
        saved, cost = self._demand.get(template), self._prefetch.get(template)
        if saved is None and cost is None:
            return 1.0, 1.0
        return saved or cost or 0.0, cost or saved or 0.0


def _average(kept: Bounded[str, float], template: str, seconds: float) -> None:
    before = kept.get(template)
    kept.put(template, seconds if before is None else before + _WEIGHT * (seconds - before))


class Gate:
    """One gate for all strategies; driven under the prefetcher's lock.

    Args:
        share: Extra statements for each demand.
        spare: Tells why the pool has no connection to spare, or "" when it has.
    """

    def __init__(self, share: float, spare: Callable[[], str]) -> None:
        self.budget = Budget(share)
        self.latencies = Latencies()
        self.in_flight = 0
        self._spare = spare
        self._breakers: Bounded[tuple[str, str], Breaker] = Bounded(BREAKERS)

    def breaker(self, strategy: str, template: str) -> Breaker:
        """Return the breaker of a strategy for a template."""
        return self._breakers.get_or_make((strategy, template), Breaker)

    def held_back(self, strategy: str) -> int:
        """Return for how many templates a strategy does not pay."""
        return sum(breaker.open for name, breaker in self._breakers.items() if name[0] == strategy)

    def refusal(self, strategy: str, template: str, probability: float) -> str:
        """Let a prefetch through and count it as in flight, or tell why not.

        Args:
            strategy: Who wants it.
            template: Of what.
            probability: How likely it will be asked for.

        Returns:
            The reason, or "" when it may go.
        """
        reason = self._not_worth(template, probability) or self._no_room() or self._does_not_pay(strategy, template)
        if not reason:
            self.budget.take()
            self.in_flight += 1
        return reason

    def landed(self, template: str, seconds: float | None) -> None:
        """Note that a prefetch has ended.

        Args:
            template: Of what.
            seconds: How long it took; None where it failed or was not sent.
        """
        self.in_flight -= 1
        if seconds is not None:
            self.latencies.note_prefetch(template, seconds)

    def resolved(self, strategy: str, template: str, *, used: bool) -> None:
        """Note whether what a prefetch loaded was used."""
        self.breaker(strategy, template).resolve(used=used)
        if used:
            self.budget.give_back()

    def _not_worth(self, template: str, probability: float) -> str:
        saved, cost = self.latencies.of(template)
        if probability * saved > PRICE * cost:
            return ""
        return (
            f"not worth it: a chance of {probability:.2f} to save {saved * 1000:.3g} ms"
            f" against {PRICE} of {cost * 1000:.3g} ms of the database's time"
        )

    def _no_room(self) -> str:
        if self.in_flight >= IN_FLIGHT:
            return f"{self.in_flight} prefetches are in flight"
        if spare := self._spare():
            return spare
        if self.budget.tokens < 1:
            return f"the budget is spent: {self.budget.share:.0%} of the demand may be extra"
        return ""

    def _does_not_pay(self, strategy: str, template: str) -> str:
        breaker = self.breaker(strategy, template)
        if breaker.lets_through():
            return ""
        return f"the breaker is open: {breaker.used} of the last {breaker.resolved} were used"
