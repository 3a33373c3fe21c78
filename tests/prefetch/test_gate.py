"""The gate: budget, breaker, room; and the ledger that feeds them. Bounds hold whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dal import UsageError
from dal.prefetch import sequential
from dal.prefetch.breaker import ENOUGH, PROBE_EVERY, Breaker
from dal.prefetch.budget import AT_START, Budget
from dal.prefetch.gate import IN_FLIGHT, Gate
from dal.prefetch.ledger import REMEMBERED, WAITING
from dal.prefetch.requests import Request, Seen, Thought
from tests.prefetch.walks import Desk, Later, page, seen


class Guess:
    """A strategy that always wants the next pages."""

    name = "guess"

    def __init__(self, probability: float = 0.9) -> None:
        self.probability = probability

    def begin(self) -> Guess:
        return self

    def observe(self, demanded: Seen) -> list[Thought]:
        assert demanded.following is not None
        return [Thought("a guess", (demanded.following,), self.probability)]


@given(st.floats(0, 1), st.lists(st.sampled_from(["demand", "take", "use"]), max_size=300))
def test_what_is_wasted_is_within_the_share_of_the_demand(share: float, steps: list[str]) -> None:
    budget = Budget(share)
    demands = open_ = 0
    for step in steps:
        if step == "demand":
            budget.demand()
            demands += 1
        elif step == "take":
            open_ += budget.take()
        elif open_:
            open_ -= 1
            budget.give_back()
        assert open_ <= AT_START + share * demands + 1e-6
        assert 0 <= budget.tokens <= budget.burst


@given(st.lists(st.booleans(), max_size=400))
def test_the_breaker_judges_the_last_hundred(outcomes: list[bool]) -> None:
    breaker = Breaker()
    for number, used in enumerate(outcomes, 1):
        breaker.resolve(used=used)
        window = outcomes[max(0, number - 100) : number]
        assert (breaker.resolved, breaker.used) == (len(window), sum(window))
        assert breaker.open == (len(window) >= ENOUGH and sum(window) < len(window) / 4)


def test_an_open_breaker_lets_two_in_a_hundred_through_and_closes_again() -> None:
    breaker = Breaker()
    for _ in range(100):
        breaker.resolve(used=False)
    assert sum(breaker.lets_through() for _ in range(500)) == 500 // PROBE_EVERY
    for _ in range(25):
        breaker.resolve(used=True)
    assert breaker.lets_through()


def test_what_does_not_pay_is_held_back() -> None:
    guess = Guess()
    desk = Desk(guess, budget=1.0)
    for number in range(1, 3000, 2):
        desk.demand(seen("ann", number, last=10**6))
        desk.now += 400
    stats = desk.prefetcher.stats()
    assert stats.strategies["guess"].held_back == 1
    assert stats.sent <= ENOUGH + 1500 / PROBE_EVERY + 1
    assert "the breaker is open: 0 of the last" in " ".join(each.why for each in desk.prefetcher.explain())


def test_waste_stays_within_the_budget_while_the_breaker_is_closed() -> None:
    desk = Desk(Guess(), budget=0.1)
    for number in range(1, 400):
        desk.demand(seen("ann", number * 2 if number % 2 else number * 2 + 1, last=10**6))
        stats = desk.prefetcher.stats()
        assert stats.wasted + stats.waiting <= AT_START + 0.1 * stats.demands
    assert "the budget is spent: 10% of the demand may be extra" in " ".join(each.why for each in desk.prefetcher.explain())


def test_at_most_two_are_in_flight() -> None:
    executor = Later()
    desk = Desk(Guess(), executor=executor)
    for number in (10, 20, 30):
        desk.demand(seen(number, number))
    assert len(executor.jobs) == IN_FLIGHT
    assert "2 prefetches are in flight" in desk.why
    executor.run()
    desk.demand(seen(40, 40))
    assert len(executor.jobs) == 1


def test_a_pool_at_work_is_left_alone() -> None:
    desk = Desk(Guess(), spare="no connection lies idle")
    desk.demand(seen("ann", 1))
    assert desk.shelf.statements == 0
    assert "no connection lies idle" in desk.why


def test_what_is_not_worth_its_cost_is_not_sent() -> None:
    gate = Gate(0.2, lambda: "")
    gate.latencies.note_demand("list", 0.001)
    gate.latencies.note_prefetch("list", 0.020)
    assert "a chance of 0.90 to save 1 ms" in gate.refusal("guess", "list", 0.9)
    assert gate.refusal("guess", "other", 0.9) == ""
    assert "not worth it" in gate.refusal("guess", "other", 0.05)


def test_a_prefetch_that_was_slow_by_chance_is_not_the_last() -> None:
    gate = Gate(0.2, lambda: "")
    gate.latencies.note_demand("list", 0.001)
    gate.latencies.note_prefetch("list", 1.0)
    assert "not worth it" in gate.refusal("guess", "list", 0.9)
    for _ in range(100):
        gate.latencies.note_demand("list", 0.001)
    assert gate.refusal("guess", "list", 0.9) == ""


def test_what_is_there_or_on_its_way_is_not_loaded_again() -> None:
    executor = Later()
    desk = Desk(Guess(), executor=executor)
    desk.demand(seen("ann", 1))
    desk.demand(seen("bob", 1))
    assert len(executor.jobs) == 1
    assert "in the cache, or on its way" in desk.why


def test_a_hit_a_waste_a_drop_and_a_failure_are_told_apart() -> None:
    desk = Desk(Guess(), budget=1.0)
    desk.demand(seen("ann", 1))
    assert desk.demand(seen("ann", 2)), "loaded ahead"
    desk.shelf.kept.discard(page(3))
    assert not desk.demand(seen("ann", 3)), "it was spoiled"
    desk.shelf.answer = "dropped"
    desk.demand(seen("ann", 10))
    desk.shelf.answer = RuntimeError("no server")
    desk.demand(seen("ann", 20))
    desk.shelf.answer = "there"
    desk.demand(seen("ann", 30))
    stats = desk.prefetcher.stats()
    told = [each.outcome for each in desk.prefetcher.explain()]
    assert told == ["used", "wasted", "waiting", "dropped", "failed", "not needed"]
    assert (stats.used, stats.wasted, stats.waiting) == (1, 3, 1)
    assert (stats.hits, stats.prefetch_hits, stats.demands) == (1, 1, 6)
    assert stats.precision == 1 / 4
    assert stats.waste == 3 / 6
    assert stats.hit_ratio == 1 / 6


def test_a_demand_that_was_faster_makes_the_prefetch_unneeded() -> None:
    executor = Later()
    desk = Desk(Guess(), executor=executor)
    desk.demand(seen("ann", 1))
    before = desk.prefetcher.stats().budget
    desk.demand(seen("ann", 2))
    assert desk.prefetcher.explain()[0].outcome == "not needed"
    executor.jobs[0]()
    assert desk.shelf.statements == 0, "it is not sent any more"
    assert desk.prefetcher.stats().budget == pytest.approx(before + 0.2 + 1 - 1), "earned, given back, taken by the next"


def test_what_was_spoiled_is_loaded_again() -> None:
    desk = Desk(Guess())
    desk.demand(seen("ann", 1))
    desk.shelf.kept.clear()
    desk.demand(seen("bob", 1))
    assert desk.shelf.statements == 2
    assert [each.outcome for each in desk.prefetcher.explain()] == ["wasted", "waiting"]


def test_what_was_in_flight_at_a_fork_is_forgotten() -> None:
    executor = Later()
    desk = Desk(Guess(), executor=executor)
    desk.demand(seen("ann", 1))
    desk.demand(seen("bob", 40))
    desk.prefetcher.reset()
    stats = desk.prefetcher.stats()
    assert (stats.waiting, stats.wasted) == (0, 0)
    desk.demand(seen("cem", 1))
    assert len(executor.jobs) == 3


def test_nobody_asks_within_the_patience() -> None:
    desk = Desk(Guess())
    desk.demand(seen("ann", 1))
    desk.now += 301
    assert desk.prefetcher.stats().wasted == 1


def test_memory_stays_bounded() -> None:
    desk = Desk(Guess(), budget=1.0)
    for number in range(1, 4 * WAITING, 2):
        desk.demand(seen(number, number, last=10**6))
        desk.prefetcher._gate._breakers.pop(("guess", "list"))
        desk.prefetcher._gate.budget.give_back()
    assert desk.prefetcher.stats().waiting <= WAITING
    assert len(desk.prefetcher.explain()) == REMEMBERED


def test_a_closed_prefetcher_sends_nothing() -> None:
    desk = Desk(sequential())
    desk.prefetcher.stop()
    desk.demand(seen("ann", 1))
    desk.demand(seen("ann", 2))
    assert desk.shelf.statements == 0
    assert "the database is closed" in desk.why


def test_a_prefetch_that_cannot_be_run_costs_nothing() -> None:
    desk = Desk(Guess())
    desk.executor.stop(0)
    desk.demand(seen("ann", 1))
    stats = desk.prefetcher.stats()
    assert (stats.sent, stats.wasted, stats.waiting) == (0, 0, 0)
    assert stats.budget == pytest.approx(AT_START + 0.2)


def test_the_budget_can_be_set_and_is_a_share() -> None:
    desk = Desk(Guess())
    desk.prefetcher.budget = 0
    for number in range(1, 60, 2):
        desk.demand(seen("ann", number))
    assert desk.shelf.statements == AT_START
    with pytest.raises(UsageError, match="budget"):
        desk.prefetcher.budget = 2


def test_equal_strategies_learn_together() -> None:
    assert sequential() == sequential()
    assert sequential() != sequential(first_page_from=0.9)
    desk = Desk(sequential())
    desk.demand(seen("ann", 1))
    desk.strategies = (sequential(),)
    desk.demand(seen("ann", 2))
    assert desk.shelf.statements == 1


def test_a_template_nobody_can_load_is_said_so() -> None:
    class Elsewhere(Guess):
        def observe(self, demanded: Seen) -> list[Thought]:
            return [Thought("a guess", (Request("other"),), 0.9)]

    desk = Desk(Elsewhere())
    desk.demand(seen("ann", 1))
    assert "no pager for it is known" in desk.why
