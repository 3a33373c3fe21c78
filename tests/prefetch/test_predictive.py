"""Predictive: what follows what, and where parameters come from; bounded, and learned from agreement alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dal import UsageError
from dal.prefetch import predictive
from dal.prefetch.binding import SOURCES, Binding
from dal.prefetch.requests import Request, Seen
from dal.prefetch.transitions import CONTEXTS, HALVE_EVERY, SUCCESSORS, Context, Transitions
from tests.prefetch.walks import asked


def test_what_always_follows_becomes_likely() -> None:
    model = predictive().begin()
    for visitor in range(20):
        asked(model, visitor, "home")
        asked(model, visitor, "news", section="sport")
    thought = asked(model, "new", "home")
    assert thought.requests == (Request("news", (("section", "sport"),)),)
    assert thought.probability > 0.75


def test_a_parameter_comes_from_the_column_it_has_agreed_with_three_times() -> None:
    model = predictive().begin()
    for number in range(1, 4):
        asked(model, "ann", "order", row={"customer_id": number * 7, "total": number}, order=number)
        asked(model, "ann", "customer", id=number * 7)
    thought = asked(model, "ann", "order", row={"customer_id": 777, "total": 5}, order=50)
    assert thought.requests == (Request("customer", (("id", 777),)),)
    assert "id from the column 'customer_id'" in thought.why


def test_two_agreements_are_not_enough() -> None:
    model = predictive().begin()
    for number in range(1, 3):
        asked(model, "ann", "order", row={"customer_id": number * 7}, order=number)
        asked(model, "ann", "customer", id=number * 7)
    assert not asked(model, "ann", "order", row={"customer_id": 777}, order=50).requests


def test_a_parameter_is_handed_on() -> None:
    model = predictive().begin()
    for number in range(1, 5):
        asked(model, "ann", "shop", shop=number)
        asked(model, "ann", "orders", shop=number, state="open")
    thought = asked(model, "ann", "shop", shop=99)
    assert thought.requests == (Request("orders", (("shop", 99), ("state", "open"))),)
    assert "shop from the parameter 'shop'" in thought.why
    assert "state is always 'open'" in thought.why


def test_a_disagreement_sends_a_source_back_to_the_start() -> None:
    binding = Binding()
    before = [Seen("ann", Request("a", (("id", number),))) for number in range(6)]
    for number in range(5):
        binding.learn(number, before[number])
    assert binding.source() == ("parameter", "id", None)
    binding.learn("other", before[5])
    assert binding.source() is None


@pytest.mark.parametrize("value", [None, True])
def test_what_agrees_by_chance_proves_nothing(value: object) -> None:
    binding = Binding()
    for _ in range(5):
        binding.learn(value, Seen("ann", Request("a", (("flag", value),)), row={"other": value}))
    assert binding.source() == ("constant", "", value)


def test_without_a_client_requests_are_not_chained() -> None:
    model = predictive().begin()
    for _ in range(20):
        asked(model, None, "home")
        thought = asked(model, None, "news")
    assert not thought.requests
    assert "using_client" in thought.why


def test_a_pause_ends_a_session() -> None:
    model = predictive().begin()
    for number in range(20):
        asked(model, "ann", "home", at=number * 10_000)
        asked(model, "ann", "news", at=number * 10_000 + 5000)
    assert not asked(model, "ann", "home", at=10**6).requests


def test_a_reload_teaches_nothing() -> None:
    model = predictive().begin()
    for _ in range(10):
        thought = asked(model, "ann", "home")
    assert thought.why == "the same request again"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=600))
def test_space_saving_never_misses_a_frequent_successor_and_never_estimates_below(walk: list[tuple[int, int]]) -> None:
    transitions: Transitions[int, int] = Transitions()
    true: dict[int, Counter[int]] = {}
    for context, successor in walk:
        transitions.visit(context)
        transitions.follow(context, successor)
        true.setdefault(context, Counter())[successor] += 1
    for context, counts in true.items():
        found = transitions.contexts.get(context)
        assert found is not None
        assert len(found.edges) <= SUCCESSORS
        total = counts.total()
        for successor, count in counts.items():
            edge = found.edges.get(successor)
            if count > total / SUCCESSORS:
                assert edge is not None
            if edge is not None:
                assert edge.count - edge.error <= count <= edge.count
                assert 0 <= found.probability(edge) < 1
                assert (found.probability(edge) > 0) == (edge.count - edge.error > 1), "once is no habit"


def test_contexts_stay_bounded_and_old_habits_fade() -> None:
    transitions: Transitions[int, str] = Transitions()
    for context in range(2 * CONTEXTS):
        transitions.visit(context)
    assert len(transitions.contexts) == CONTEXTS
    for _ in range(HALVE_EVERY):
        transitions.visit(-1)
        transitions.follow(-1, "x")
    found = transitions.contexts.get(-1)
    assert found is not None
    assert found.times < HALVE_EVERY


def test_halving_drops_what_becomes_nothing() -> None:
    context: Context[str] = Context()
    context.follow("once")
    context.halve()
    assert not context.edges


@given(
    st.lists(st.tuples(st.integers(0, 3), st.dictionaries(st.text(max_size=2), st.integers(0, 3), max_size=30)), max_size=40)
)
def test_a_binding_stays_bounded_and_names_only_what_agreed(steps: list[tuple[int, dict[str, int]]]) -> None:
    binding = Binding()
    for value, row in steps:
        binding.learn(value, Seen("ann", Request("a"), row=row))
        assert len(binding.agreed) <= SOURCES
    source = binding.source()
    if source is not None and source[0] == "column":
        assert all(row[source[1]] == value for value, row in steps[-3:])


def test_a_number_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="ahead"):
        predictive(ahead=0)
