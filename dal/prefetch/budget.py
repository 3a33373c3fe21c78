"""How many statements may be wasted: a token bucket that demand fills.

Each statement sent for a demand adds a share of a token, each prefetch takes one, and gives it back when what it loaded is
used: it was then no extra statement but the same one earlier. What was wasted is therefore never more than the share of the
demand, plus the five tokens that are there at the start.
"""

from __future__ import annotations

__all__ = ["Budget"]

AT_START, BURST = 5.0, 20.0


class Budget:
    """Count what may be spent.

    Args:
        share: Extra statements for each demand, from 0 to 1.
        burst: Tokens at most.

    Example:
        >>> budget = Budget(0.5)
        >>> budget.demand(), budget.demand()
        (None, None)
        >>> [budget.take() for _ in range(7)]
        [True, True, True, True, True, True, False]
    """

    __slots__ = ("burst", "share", "tokens")

    def __init__(self, share: float, burst: float = BURST) -> None:
        self.share = share
        self.burst = burst
        self.tokens = min(AT_START, burst)

    def demand(self) -> None:
        """Earn from a demand."""
        self.tokens = min(self.burst, self.tokens + self.share)

    def take(self) -> bool:
        """Spend a token, if there is one."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def give_back(self) -> None:
        """Get back the token of a prefetch that was no extra statement after all."""
        self.tokens = min(self.burst, self.tokens + 1)
