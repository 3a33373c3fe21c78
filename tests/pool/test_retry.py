"""The retry table, its pauses and the budget; real errors are in tests/units."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from dal import ConnectFailed, DeadlineExceeded, PoolTimeout
from dal.deadlines import limit
from dal.events import Retried
from dal.pool.retry import LOCKED, LOST, TABLE, RetryBudget, Retrying, Rule, Undone, rule_for, state_of

ALWAYS = [
    *("40001", "40P01", "40000", "57P01", "57P02", "57P05", "08000", "08003", "08006", "26000", "42P05"),
    *("57P03", "53300", "08001", "53000", "53200", "53400", "72000"),
]
NEVER = [
    *(
        "23505",
        "22012",
        "42P01",
        "P0001",
        "XX000",
        "57014",
        "25P02",
        "08P01",
        "08004",
        "57P04",
        "28P01",
        "3D000",
        "40003",
        "08007",
    ),
    *("0A000", "55P03", "55000", "55006", "25P03", "25P04"),
]
READERS = ["53100", "58000", "58030"]


def failed(state: str) -> DBAPIError:
    cause = type("Failure", (errors.DatabaseError,), {"sqlstate": state})()
    return DBAPIError("SELECT 1", None, cause)


@pytest.mark.parametrize("state", ALWAYS)
@pytest.mark.parametrize("read_only", [False, True])
def test_what_every_unit_is_run_again_for(state: str, read_only: bool) -> None:
    assert rule_for(failed(state), read_only=read_only) is not None


@pytest.mark.parametrize("state", NEVER)
@pytest.mark.parametrize("read_only", [False, True])
def test_what_no_unit_is_run_again_for(state: str, read_only: bool) -> None:
    assert rule_for(failed(state), read_only=read_only) is None


@pytest.mark.parametrize("state", READERS)
def test_what_only_readers_are_run_again_for(state: str) -> None:
    assert rule_for(failed(state), read_only=True) is not None
    assert rule_for(failed(state), read_only=False) is None


def test_a_server_that_became_read_only_concerns_those_who_write() -> None:
    assert rule_for(failed("25006"), read_only=False) is not None
    assert rule_for(failed("25006"), read_only=True) is None


@pytest.mark.parametrize("state", ["55P03", "23505"])
def test_what_is_asked_for(state: str) -> None:
    assert rule_for(failed(state), asked=[state]) is not None


def test_no_state_is_in_the_table_twice() -> None:
    states = [state for rule in TABLE for state in rule.states]
    assert len(states) == len(set(states))


def test_what_has_no_sqlstate() -> None:
    gone = OperationalError("SELECT 1", None, errors.OperationalError("gone"), connection_invalidated=True)
    assert state_of(gone) == LOST
    assert state_of(OperationalError("SELECT 1", None, errors.OperationalError("something else"))) is None
    assert state_of(Undone(gone)) == LOST
    assert state_of(PoolTimeout("nothing came free")) is None
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY_SNAPSHOT
    assert state_of(OperationalError("BEGIN", None, busy)) == LOCKED
    constraint = sqlite3.IntegrityError("UNIQUE")
    constraint.sqlite_errorcode = sqlite3.SQLITE_CONSTRAINT_UNIQUE
    assert state_of(IntegrityError("INSERT", None, constraint)) is None


def test_a_wrong_password_is_not_tried_again() -> None:
    refused = ConnectFailed("no connection", orig=errors.OperationalError("connection refused"))
    wrong = ConnectFailed("no connection", orig=errors.OperationalError('password authentication failed for user "app"'))
    assert rule_for(refused) is not None
    assert rule_for(wrong) is None


def flaky(*states: str) -> tuple[Any, list[str]]:
    left = list(states)

    def once() -> str:
        if left:
            raise failed(left.pop(0))
        return "done"

    return once, left


def retrying(attempts: int = 3, delay: float = 1.0, **options: Any) -> tuple[Retrying, list[float], list[object]]:
    slept: list[float] = []
    told: list[object] = []
    return Retrying(attempts, delay, pause=slept.append, tell=told.append, **options), slept, told


def test_the_first_try_after_a_lost_connection_comes_at_once_then_with_doubled_pauses() -> None:
    runner, slept, told = retrying()
    once, _ = flaky("57P01", "57P01", "57P01")
    assert runner.run(once) == "done"
    assert [round(fact.seconds, 9) for fact in told if isinstance(fact, Retried)] == [0.0, *(round(each, 9) for each in slept)]
    assert 0.8 <= slept[0] <= 1.2
    assert 1.6 <= slept[1] <= 2.4


def test_a_deadlock_is_tried_again_soon() -> None:
    runner, slept, _ = retrying()
    once, _ = flaky("40P01", "40001", "40001")
    runner.run(once)
    assert [low <= pause <= high for pause, low, high in zip(slept, (0.02, 0.04, 0.08), (0.05, 0.1, 0.2), strict=True)] == [
        True
    ] * 3


def test_attempts_are_those_after_the_first() -> None:
    runner, _, told = retrying(attempts=2)
    once, left = flaky("40001", "40001", "40001", "40001")
    with pytest.raises(DBAPIError):
        runner.run(once)
    assert (len(told), len(left)) == (2, 1)


def test_none_is_none() -> None:
    runner, _, told = retrying(attempts=0)
    with pytest.raises(DBAPIError):
        runner.run(flaky("40001")[0])
    assert told == []


def test_a_full_server_is_asked_once_more() -> None:
    runner, _, told = retrying()
    with pytest.raises(DBAPIError):
        runner.run(flaky("53200", "53200")[0])
    assert len(told) == 1


def test_an_error_of_the_application_stays_as_it_was() -> None:
    runner, _, _ = retrying()

    def once() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second")  # noqa: B904  the context is what is tested

    with pytest.raises(ValueError, match="second") as caught:
        runner.run(once)
    assert isinstance(caught.value.__context__, KeyError)
    assert not caught.value.__suppress_context__


def test_a_used_up_budget_lets_errors_through_at_once() -> None:
    runner, _, told = retrying(attempts=10, budget=RetryBudget(capacity=2, per_second=0))
    with pytest.raises(DBAPIError) as caught:
        runner.run(flaky(*["40001"] * 9)[0])
    assert len(told) == 2
    assert "retry budget" in caught.value.__notes__[0]


def test_the_budget_comes_back_with_success() -> None:
    budget = RetryBudget(capacity=1, per_second=0, per_success=0.5)
    assert [budget.take(), budget.take()] == [True, False]
    budget.succeeded()
    assert not budget.take()
    budget.succeeded()
    assert budget.take()


def test_no_pause_runs_into_the_deadline() -> None:
    runner, slept, _ = retrying(delay=10.0)
    with limit(1.0), pytest.raises(DeadlineExceeded, match="no time is left for another try") as caught:
        runner.run(flaky("53300")[0])
    assert slept == []
    assert isinstance(caught.value.__cause__, DBAPIError)


@pytest.mark.parametrize("rule", TABLE)
def test_a_pause_is_never_endless(rule: Rule) -> None:
    assert all(0 <= rule.seconds(again, delay) <= 75 for again in range(1, 60) for delay in (0.0, 0.001, 1.0, 1e6))
