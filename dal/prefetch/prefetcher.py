"""The prefetcher of a database: it hears of every demand, asks the strategies, passes the gate and sends what may be sent.

One lock guards all it knows; it decides under the lock and acts outside it. It belongs to a database (`db.prefetch`), serves
all its pagers, and costs nothing before the first of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from dal.prefetch import forks
from dal.prefetch.bounded import Bounded
from dal.prefetch.decisions import Decision, Note, Outcome, Prefetch
from dal.prefetch.executors import Executor
from dal.prefetch.gate import Gate
from dal.prefetch.ledger import Ledger
from dal.prefetch.requests import Model, Request, Seen, Strategy, Thought, Timed
from dal.prefetch.settings import share
from dal.prefetch.sources import Loaded, Source
from dal.prefetch.stats import PrefetchStats, StrategyStats

__all__ = ["Prefetcher"]

SOURCES, MODELS = 512, 64
PATIENCE, BUDGET = 300.0, 0.1
_CLOSING = 5.0

_log = logging.getLogger("dal.prefetch")


class Prefetcher:
    """Load what will be asked next.

    Args:
        executor: Where prefetches run.
        spare: Tells why the pool has no connection to spare, or "" when it has.
        patience: How long a prefetch may wait to be used, in seconds.
        clock: The time in seconds since 1970.
    """

    def __init__(
        self,
        executor: Executor,
        spare: Callable[[], str],
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._executor = executor
        self.clock = clock
        self._gate = Gate(BUDGET, spare)
        self._ledger = Ledger(patience, self._settled)
        self._sources: Bounded[str, Source] = Bounded(SOURCES)
        self._models: Bounded[Strategy, Model] = Bounded(MODELS)
        self._timed: Bounded[Strategy, Timed] = Bounded(MODELS)
        self._lock = threading.Lock()
        self._demands = self._hits = self._prefetch_hits = 0
        self._closed = False
        forks.watch(self)

    @property
    def budget(self) -> float:
        """How many extra statements there may be for each demand, from 0 to 1: 0.1, or what it was set to.

        Raises:
            UsageError: It is set to something else.
        """
        return self._gate.budget.share

    @budget.setter
    def budget(self, value: float) -> None:
        self._gate.budget.share = share(value, "budget")

    def register(self, template: str, source: Source) -> None:
        """Name who loads the requests of a template.

        Args:
            template: The template; of pagers with the same one the latest does.
            source: Who.
        """
        with self._lock:
            self._sources.put(template, source)

    def demanded(self, seen: Seen, strategies: Sequence[Strategy], *, sent: bool, seconds: float) -> None:
        """Hear of a demand that was answered, and send what it gives rise to.

        Args:
            seen: The demand.
            strategies: Those of its pager; without any it is only counted.
            sent: Whether a statement was sent for it.
            seconds: How long that took.
        """
        with self._lock:
            self._book(seen, sent=sent, seconds=seconds)
            if strategies:
                self._gate.budget.demand()
            going = [
                prefetch
                for strategy in strategies
                for prefetch in self._consider(strategy, self._model(strategy).observe(seen), seen.request)
            ]
            timed = list(self._timed.items())
        self._send(going)
        for strategy, model in timed:
            self._executor.tick(model.next_due, partial(self.warm, strategy))

    def warm(self, strategy: Strategy) -> None:
        """Send what a strategy thinks of at this time of the week, one after the other."""
        with self._lock:
            model = self._model(strategy)
            thoughts = model.due(self.clock()) if isinstance(model, Timed) else []
        for thought in thoughts:
            with self._lock:
                going = self._consider(strategy, [thought], None)
            self._send(going)
            self._executor.drain(_CLOSING)

    def stats(self) -> PrefetchStats:
        """Take a snapshot of the numbers.

        Returns:
            Demands, hits, and what became of the prefetches, in all and by strategy.
        """
        with self._lock:
            self._ledger.expire(self.clock())
            outcomes = self._ledger.outcomes
            by_strategy = {name: StrategyStats.of(each, self._gate.held_back(name)) for name, each in outcomes.items()}
            waiting = self._ledger.waiting
            return PrefetchStats(
                demands=self._demands,
                hits=self._hits,
                prefetch_hits=self._prefetch_hits,
                sent=sum(each.sent for each in by_strategy.values()) + waiting,
                used=sum(each.used for each in by_strategy.values()),
                wasted=sum(each.wasted for each in by_strategy.values()),
                waiting=waiting,
                budget=self._gate.budget.tokens,
                strategies=by_strategy,
            )

    def explain(self) -> tuple[Decision, ...]:
        """Tell why each of the latest 256 prefetches was sent or not.

        Returns:
            The decisions, the newest last; `print()` shows each as a line.
        """
        with self._lock:
            notes, sources = self._ledger.notes(), dict(self._sources.items())

        def describe(request: Request) -> str:
            source = sources.get(request.template)
            return request.template if source is None else source.describe(request)

        return tuple(note.told(describe) for note in notes)

    def wait(self, timeout: float = 5.0) -> bool:
        """Wait until nothing is in flight; for tests and scripts.

        Args:
            timeout: Seconds at most.

        Returns:
            Whether that came about.
        """
        return self._executor.drain(timeout)

    def stop(self) -> None:
        """Send nothing any more, and end what is in flight."""
        with self._lock:
            self._closed = True
        self._executor.stop(_CLOSING)

    def reset(self) -> None:
        """Begin anew in a forked child, where no thread of the parent runs."""
        self._lock = threading.Lock()
        self._ledger.forget_flights()
        self._gate.in_flight = 0
        self._executor.reset()

    def _model(self, strategy: Strategy) -> Model:
        model = self._models.get(strategy)
        if model is None:
            model = strategy.begin()
            self._models.put(strategy, model)
            if isinstance(model, Timed):
                self._timed.put(strategy, model)
        return model

    def _book(self, seen: Seen, *, sent: bool, seconds: float) -> None:
        self._ledger.expire(self.clock())
        self._demands += 1
        self._hits += not sent
        if sent:
            self._gate.latencies.note_demand(seen.request.template, seconds)
        found = {id(each): each for part in seen.parts if (each := self._ledger.demand(part, sent=sent)) is not None}
        self._prefetch_hits += bool(found) and not sent

    def _consider(self, strategy: Strategy, thoughts: list[Thought], after: Request | None) -> list[Prefetch]:
        """Pass thoughts through the gate. The lock is held."""
        going = []
        for thought in thoughts:
            wanted, reason = self._wanted(thought)
            if not reason and wanted:
                reason = self._gate.refusal(strategy.name, wanted[0].template, thought.probability)
            prefetch = None
            if wanted and not reason:
                prefetch = Prefetch(strategy.name, wanted, self.clock())
                self._ledger.send(prefetch)
                going.append(prefetch)
            self._ledger.remember(Note(self.clock(), strategy.name, after, thought, reason, prefetch))
        return going

    def _wanted(self, thought: Thought) -> tuple[tuple[Request, ...], str]:
        """Return what of a thought is not there yet, or why nothing is to be loaded. The lock is held."""
        if self._closed:
            return (), "the database is closed"
        if not thought.requests:
            return (), ""
        source = self._sources.get(thought.requests[0].template)
        if source is None:
            return (), "no pager for it is known"
        wanted = tuple(each for each in thought.requests if not self._ledger.in_flight(each) and not source.holds(each))
        for each in wanted:
            self._ledger.lost(each)
        return wanted, "" if wanted else "it is in the cache, or on its way"

    def _send(self, going: list[Prefetch]) -> None:
        for prefetch in going:
            abandoned = partial(self._land, prefetch, "not needed", None)
            if not self._executor.submit(partial(self._run, prefetch), abandoned):
                abandoned()

    def _run(self, prefetch: Prefetch) -> None:
        with self._lock:
            source = None if self._closed else self._sources.get(prefetch.template)
        outcome: Outcome = "not needed"
        started = time.perf_counter()
        try:
            if source is not None and not prefetch.settled:
                outcome = _OUTCOMES[source.load(prefetch.requests)]
        except Exception:
            outcome = "failed"
            _log.debug("a prefetch of %s failed", prefetch.strategy, exc_info=True)
        finally:
            self._land(prefetch, outcome, time.perf_counter() - started)

    def _land(self, prefetch: Prefetch, outcome: Outcome, seconds: float | None) -> None:
        with self._lock:
            self._gate.landed(prefetch.template, seconds if outcome == "waiting" else None)
            if outcome == "waiting":
                if not prefetch.settled:
                    prefetch.outcome = outcome
            else:
                self._ledger.settle(prefetch, outcome)

    def _settled(self, prefetch: Prefetch) -> None:
        """Draw the consequences of what became of a prefetch. The lock is held."""
        if prefetch.outcome == "not needed":
            self._gate.budget.give_back()
        else:
            self._gate.resolved(prefetch.strategy, prefetch.template, used=prefetch.outcome == "used")


_OUTCOMES: dict[Loaded, Outcome] = {"kept": "waiting", "dropped": "dropped", "there": "not needed"}
