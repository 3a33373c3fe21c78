"""Which errors are worth running a unit of work again for, how often, and after what pause: one table, by SQLSTATE.

| SQLSTATE | run again | first pause |
|---|---|---|
| 40001, 40P01, 40000 | yes | 20 to 50 ms |
| the connection was lost, 57P01, 57P02, 57P05, 08000, 08003, 08006 | yes; after COMMIT was sent see `dal.pool.commit` | none |
| 25006 (the server became read-only) | yes, unless the unit is read-only itself | none |
| 26000, 42P05, 0A000 of a stale plan | yes | none |
| 57P03, 53300, 08001, no connection | yes; dal's own pool tries on by itself while the borrower waits | retry_delay |
| 53000, 53200, 53400, 72000 | once | retry_delay |
| 53100, 58000, 58030 | once and only what reads | retry_delay |
| 55P03, 55000, 55006, 25P03, 25P04 | only where asked for: `db.unit(retry_on=["55P03"])` | 20 to 50 ms |
| SQLite's "database is locked" | yes | 20 to 50 ms |
| everything else | no | |

Each further pause is twice as long, and all are jittered. A waiting borrower's own errors (`PoolTimeout`) are not in the
table: it has waited already.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, TypeVar

from sqlalchemy import exc

from dal import deadlines
from dal.errors import ConnectFailed
from dal.events import Retried
from dal.pool.connecting import transient

__all__ = [
    "LOCKED",
    "LOST",
    "REFUSED",
    "STALE_PLAN",
    "TABLE",
    "RetryBudget",
    "Retrying",
    "Rule",
    "Undone",
    "rule_for",
    "state_of",
]

T = TypeVar("T")

LOST, REFUSED, STALE_PLAN, LOCKED = "lost", "refused", "stale plan", "locked"
"""What has no SQLSTATE of its own."""

_SHORT, _LONGEST = 0.02, 30.0
_SQLITE_BUSY = {5, 6}


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of error is answered with.

    Args:
        states: SQLSTATEs, or the names of what has none.
        who: Whose failure is run again: any unit's, only what reads, only what writes, or only units that ask for it.
        pause: Before the first new try: none, short (20 to 50 ms) or the configured retry_delay.
        most: New tries at most; by default the configured retry_attempts.
    """

    states: tuple[str, ...]
    who: Literal["all", "readers", "writers", "asked"]
    pause: Literal["none", "short", "delay"]
    most: int | None = None

    def allows(self, state: str, *, read_only: bool, asked: Collection[str]) -> bool:
        """Tell whether a unit may be run again after this.

        Args:
            state: The error's state.
            read_only: Whether the unit only reads.
            asked: States the unit itself named.
        """
        if state in asked:
            return True
        return self.who == "all" or self.who == ("readers" if read_only else "writers")

    def seconds(self, again: int, delay: float) -> float:
        """Draw the pause before a new try.

        Args:
            again: Its number, from 1.
            delay: The configured retry_delay.
        """
        if self.pause == "short":
            return float(min(_SHORT * 2 ** (again - 1), _LONGEST) * random.uniform(1.0, 2.5))
        doublings = again - 1 if self.pause == "delay" else again - 2
        return float(min(delay * 2**doublings, _LONGEST) * random.uniform(0.8, 1.2)) if doublings >= 0 else 0.0


TABLE = (
    Rule(("40001", "40P01", "40000"), "all", "short"),
    Rule((LOST, "57P01", "57P02", "57P05", "08000", "08003", "08006"), "all", "none"),
    Rule(("25006",), "writers", "none"),
    Rule(("26000", "42P05", STALE_PLAN), "all", "none"),
    Rule(("57P03", "53300", "08001", REFUSED), "all", "delay"),
    Rule(("53000", "53200", "53400", "72000"), "all", "delay", most=1),
    Rule(("53100", "58000", "58030"), "readers", "delay", most=1),
    Rule(("55P03", "55000", "55006", "25P03", "25P04"), "asked", "short"),
    Rule((LOCKED,), "all", "short"),
)
"""The table; a state that is not in it is not run again."""

_ELSEWHERE = Rule((), "all", "none")
_RULES = {state: rule for rule in TABLE for state in rule.states}


class Undone(Exception):
    """A COMMIT that was in doubt turned out not to have happened: the unit can be run again.

    Args:
        error: What the driver raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def state_of(error: BaseException) -> str | None:
    """Name what happened: a SQLSTATE, one of the names above, or None where neither applies.

    Args:
        error: SQLAlchemy's error or the driver's own.

    Example:
        >>> state_of(ValueError("no database error"))
    """
    if isinstance(error, Undone):
        return LOST
    original: Any = getattr(error, "orig", None) or error
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if state == "0A000" and getattr(getattr(original, "diag", None), "source_function", None) == "RevalidateCachedQuery":
        return STALE_PLAN
    if state:
        return str(state)
    if isinstance(error, ConnectFailed):
        return REFUSED if transient(error) else None
    if (getattr(original, "sqlite_errorcode", None) or 0) & 0xFF in _SQLITE_BUSY:
        return LOCKED
    return LOST if isinstance(error, exc.DBAPIError) and error.connection_invalidated else None


def rule_for(error: BaseException, *, read_only: bool = False, asked: Collection[str] = ()) -> Rule | None:
    """Look up whether a unit that failed may be run again.

    Args:
        error: What it raised.
        read_only: Whether it only reads.
        asked: States it named itself.

    Returns:
        The rule to follow, or None: do not.
    """
    state = state_of(error)
    rule = _RULES.get(state) if state is not None else None
    if state is None or rule is None:
        return Rule((state,), "asked", "short") if state is not None and state in asked else None
    return rule if rule.allows(state, read_only=read_only, asked=asked) else None


class RetryBudget:
    """New tries that may be made now: a bucket of tokens, filled by time and by what succeeds.

    A server in trouble gets its load once, not several times: when most units fail, the bucket is soon empty and errors go to
    the caller at once.

    Args:
        capacity: Tokens of a full bucket.
        per_second: Tokens that each second brings.
        per_success: Tokens that each unit brings that needed no new try.

    Example:
        >>> budget = RetryBudget(capacity=1, per_second=0, per_success=0.5)
        >>> [budget.take(), budget.take()]
        [True, False]
    """

    def __init__(self, *, capacity: float = 100.0, per_second: float = 10.0, per_success: float = 0.1) -> None:
        self._capacity, self._per_second, self._per_success = capacity, per_second, per_success
        self._tokens, self._at = capacity, monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take one token if there is one."""
        with self._lock:
            now = monotonic()
            self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._per_second)
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def succeeded(self) -> None:
        """Note a unit that needed no new try."""
        if self._tokens < self._capacity:
            with self._lock:
                self._tokens = min(self._capacity, self._tokens + self._per_success)


class Retrying:
    """Runs something again as long as the table, the number of tries, the deadline and the budget allow it.

    Args:
        attempts: New tries at most.
        delay: retry_delay in seconds.
        pause: Sleeps; under asyncio it suspends the task.
        budget: The database's budget.
        tell: Called with a fact for each new try.
        elsewhere: Tells of an error that is not in the table whether another server may do it.
    """

    def __init__(
        self,
        attempts: int,
        delay: float,
        *,
        pause: Callable[[float], None],
        budget: RetryBudget | None = None,
        tell: Callable[[object], None] | None = None,
        elsewhere: Callable[[BaseException], bool] | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._attempts, self._delay, self._pause = attempts, delay, pause
        self._budget = budget or RetryBudget()
        self._tell = tell

    def run(self, once: Callable[[], T], *, read_only: bool = False, asked: Collection[str] = ()) -> T:
        """Call something, and call it again while that is safe.

        Args:
            once: One try; an error of it must mean that nothing of it remains.
            read_only: Whether it only reads.
            asked: States to try again for, beyond the table.

        Returns:
            What the last try returned.

        Raises:
            DeadlineExceeded: The deadline is over, or would be before the next try.
        """
        again = 0
        while True:
            try:
                result = once()
            except Exception as failure:
                error = failure.error if isinstance(failure, Undone) else failure
                rule = rule_for(failure, read_only=read_only, asked=asked) or self._rule_for_another_server(failure)
                again += 1
                if rule is None or again > self._most(rule) or not self._affordable(error):
                    if error is failure:
                        raise
                    raise error from error.__cause__
                self._rest(again, rule.seconds(again, self._delay), error)
            else:
                if not again:
                    self._budget.succeeded()
                return result

    def _rule_for_another_server(self, error: Exception) -> Rule | None:
        return _ELSEWHERE if self._elsewhere is not None and self._elsewhere(error) else None

    def _most(self, rule: Rule) -> int:
        return self._attempts if rule.most is None else min(rule.most, self._attempts)

    def _affordable(self, error: Exception) -> bool:
        if self._budget.take():
            return True
        error.add_note("not run again: too many units of this database failed lately, its retry budget is used up")
        return False

    def _rest(self, again: int, seconds: float, error: Exception) -> None:
        deadline = deadlines.current()
        if deadline is not None and seconds >= deadline.left():
            raise deadline.exceeded(f"no time is left for another try in {seconds:.3g} s") from error
        if self._tell is not None:
            self._tell(Retried(again, seconds, error))
        if seconds:
            self._pause(seconds)
            if deadline is not None:
                deadline.note("between tries", seconds)
