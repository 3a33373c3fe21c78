"""Why each prefetch was sent or not, and what became of it: the answer of `explain()`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from dal.prefetch.requests import Request, Thought

__all__ = ["Decision", "Note", "Outcome", "Prefetch"]

Outcome = Literal["not sent", "in flight", "waiting", "used", "wasted", "dropped", "failed", "not needed"]


@dataclass(slots=True)
class Prefetch:
    """A prefetch that was let through, and how far it has come.

    Args:
        strategy: Whose idea it was.
        requests: What it loads, in one statement.
        sent_at: When, in seconds since 1970.
    """

    strategy: str
    requests: tuple[Request, ...]
    sent_at: float
    outcome: Outcome = "in flight"

    @property
    def template(self) -> str:
        """What it is of."""
        return self.requests[0].template

    @property
    def settled(self) -> bool:
        """Whether it is known what became of it."""
        return self.outcome not in ("in flight", "waiting")


@dataclass(frozen=True, slots=True)
class Note:
    """A decision as it is noted on the way: put into words only when somebody asks."""

    at: float
    strategy: str
    after: Request | None
    thought: Thought
    refusal: str
    prefetch: Prefetch | None

    def told(self, describe: Callable[[Request], str]) -> Decision:
        """Put it into words."""
        return Decision(
            at=self.at,
            strategy=self.strategy,
            asked="the clock" if self.after is None else describe(self.after),
            requests=len(self.thought.requests if self.prefetch is None else self.prefetch.requests),
            probability=self.thought.probability,
            why=f"{self.thought.why}; {self.refusal}" if self.refusal else self.thought.why,
            outcome="not sent" if self.prefetch is None else self.prefetch.outcome,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of the prefetcher.

    Attributes:
        at: When, in seconds since 1970.
        strategy: Whose idea it was.
        asked: The demand that gave rise to it, in words.
        requests: How many pages, objects or cells it would load.
        probability: How likely they are asked for, as the strategy sees it.
        why: In words: what the strategy saw, and what the gate said.
        outcome: "not sent"; "in flight"; "waiting" in the cache to be asked for; "used"; "wasted", not asked for in time;
            "dropped", because a write overtook it; "failed", with the error in `why`; "not needed", a demand was faster.
    """

    at: float
    strategy: str
    asked: str
    requests: int
    probability: float
    why: str
    outcome: Outcome

    def __str__(self) -> str:
        moment = datetime.fromtimestamp(self.at, UTC).strftime("%H:%M:%S")
        return f"{moment} {self.strategy} after {self.asked}: {self.outcome}; {self.why}"
