"""A pytest plugin for SQLAlchemy's own tests: every ORM select is executed with `batched()`.

Statements are allowed to differ in number and text, so a failed assertion about them is noted and the test goes on:
what it says of objects and values still has to hold. Two facts go into the JUnit report of each test: `statements`
(the first assertion about statements that did not hold) and `touches` (how often batched loading was asked).

`DAL_STAMP=mapping` keeps the eager loaders of the mapping; `DAL_STAMP=policy` leaves them to the policy, as
`Database(policy=batched())` does; without it nothing is stamped.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Mapper, ORMExecuteState, Session

from dal.loading import _internals, apply_policy, batched, watch
from dal.loading.batched import Batched
from dal.loading.touch import Touch

STAMP = os.environ.get("DAL_STAMP", "")


class _Notes:
    """What happened in the test that runs."""

    touches = 0
    statements = ""


def _stamp(execution: ORMExecuteState) -> None:
    own_select = execution.is_select and execution.is_orm_statement
    if own_select and not execution.is_column_load and not execution.is_relationship_load:
        stamped: Any = apply_policy(execution.statement, execution.session, query=batched())
        execution.statement = stamped


def _listen() -> None:
    """Listen, again: some of SQLAlchemy's tests remove every listener when they are done."""
    if not event.contains(Session, "do_orm_execute", _stamp):
        event.listen(Session, "do_orm_execute", _stamp)
    if not event.contains(Mapper, "after_configured", watch._watch_known):
        event.listen(Mapper, "after_configured", watch._watch_known, raw=True, retval=True)


def _soften(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.testing.assertsql import SQLAsserter

    strict = SQLAsserter.assert_
    load = Batched.load

    def assert_(asserter: Any, *rules: Any) -> None:
        try:
            strict(asserter, *rules)  # type: ignore[no-untyped-call]
        except AssertionError as error:
            _Notes.statements = _Notes.statements or str(error)

    def counted(mode: Batched, touch: Touch) -> Any:
        _Notes.touches += 1
        return load(mode, touch)

    monkeypatch.setattr(SQLAsserter, "assert_", assert_)
    monkeypatch.setattr(Batched, "load", counted)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    if not STAMP:
        return (yield)
    _Notes.touches, _Notes.statements = 0, ""
    try:
        _listen()
        with pytest.MonkeyPatch.context() as monkeypatch:
            _soften(monkeypatch)
            monkeypatch.setattr(watch, "_listen", _listen)
            if STAMP == "mapping":
                monkeypatch.setattr(_internals, "default_strategy", lambda *_: None)
            return (yield)
    finally:
        item.user_properties += [("touches", _Notes.touches), ("statements", _Notes.statements)]
