"""Detection that is always on: sampled, above thresholds, told once, without a trace when it is gone; and healing."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from dal.detection import Detected, detect, listeners, span_events, taps
from dal.errors import ConfigError, UsageError
from dal.healing import Healed
from dal.testing import count_statements
from tests.detection.scenarios.models import Base, User, seed


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        seed(session)
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def gone() -> Iterator[None]:
    yield
    detect.uninstall()
    assert threading.active_count() > 1 or not listeners.listening()


def page(engine: Engine) -> int:
    with Session(engine) as session:
        return sum(len(user.posts) for user in session.scalars(select(User)))


def test_each_transaction_is_judged(engine: Engine) -> None:
    told: list[object] = []
    with detect.install(observer=told.append, min_seconds=0):
        page(engine)
        with Session(engine) as session:
            session.scalars(select(User)).all()
    page(engine)
    assert len(told) == 1
    fact = told[0]
    assert isinstance(fact, Detected)
    assert (fact.name, fact.statements, fact.findings[0].subject) == ("transaction", 7, "User.posts")
    assert "test_installed.py" in fact.findings[0].call_site


def test_thresholds(engine: Engine) -> None:
    told: list[object] = []
    for options in ({"min_queries": 7, "min_seconds": 0}, {"min_seconds": "10s"}, {"min_seconds": 0, "allow": ["User.*"]}):
        with detect.install(observer=told.append, **options):
            page(engine)
    assert not told


def test_sample(engine: Engine) -> None:
    told: list[object] = []
    with detect.install(observer=told.append, min_seconds=0, sample=0.25):
        for _ in range(200):
            page(engine)
    assert 20 < len(told) < 90
    with detect.install(observer=told.append, min_seconds=0, sample=0):
        before = len(told)
        page(engine)
    assert len(told) == before


@pytest.mark.parametrize("sample", [0.0, 1.0])
def test_connections_and_sessions_carry_no_listeners(engine: Engine, sample: float) -> None:
    with detect.install(sample=sample), engine.connect() as connection, Session(connection) as session:
        session.scalars(select(User)).all()
        assert not list(connection.dispatch.after_cursor_execute)
        assert "_has_events" not in vars(engine)
        assert not vars(connection).get("_has_events")
    assert "do_execute" not in engine.dialect.__dict__


def test_a_session_that_is_forgotten_is_not_kept(engine: Engine) -> None:
    with detect.install():
        session = Session(engine)
        session.scalars(select(User)).all()
        forgotten = weakref.ref(session)
        del session
        gc.collect()
        assert forgotten() is None
        assert not taps._connections


def test_others_that_replace_a_method_of_the_dialect_are_left_in_place() -> None:
    told: list[Any] = []
    asked = 0
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        seed(session)
    with detect.install(observer=told.append, min_seconds=0):
        with Session(engine) as session:
            session.scalar(select(User.id))
            ours = engine.dialect.do_execute

            def counted(*call: Any) -> None:
                nonlocal asked
                asked += 1
                ours(*call)

            engine.dialect.do_execute = counted  # type: ignore[method-assign, assignment]
        assert page(engine) == 30
    assert page(engine) == 30
    assert engine.dialect.do_execute is counted
    assert asked == 14
    assert [fact.statements for fact in told] == [7]
    engine.dispose()


def test_two_sessions_on_one_connection_are_both_told(engine: Engine) -> None:
    told: list[Any] = []
    with engine.connect() as connection, detect.install(observer=told.append, min_seconds=0), Session(connection) as outer:
        users = outer.scalars(select(User)).all()
        with Session(connection) as inner:
            [len(user.posts) for user in inner.scalars(select(User))]
        assert len(told) == 1
        [len(user.badges) for user in users]
        outer.close()
    assert [finding.subject for finding in told[0].findings] == ["User.posts"]
    assert "User.badges" in [finding.subject for finding in told[1].findings]
    assert not taps._connections


def test_an_outer_connection_is_left_as_it_was(engine: Engine) -> None:
    """Tests often bind sessions to one long-lived connection."""
    told: list[object] = []
    with engine.connect() as connection:
        with detect.install(observer=told.append, min_seconds=0):
            for _ in range(3):
                with Session(connection) as session:
                    [len(user.posts) for user in session.scalars(select(User))]
        assert not taps._connections
    assert len(told) == 3


def test_logged_once_by_default(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dal.detection"), detect.install(min_seconds=0):
        page(engine)
        page(engine)
    assert [record.message for record in caplog.records] == [caplog.records[0].message]
    assert "selectinload(User.posts)" in caplog.text


def test_an_observer_that_fails_harms_nobody(engine: Engine) -> None:
    def broken(fact: object) -> None:
        raise RuntimeError("no")

    with detect.install(observer=broken, min_seconds=0):
        assert page(engine) == 30


def test_span_events(engine: Engine) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with detect.install(observer=span_events(), min_seconds=0), provider.get_tracer("test").start_as_current_span("request"):
        page(engine)
    (found,) = exporter.get_finished_spans()[0].events
    attributes = dict(found.attributes or {})
    assert found.name == "dal.n-plus-one"
    assert (attributes["dal.subject"], attributes["dal.queries"]) == ("User.posts", 6)
    assert "?" in str(attributes["db.query.text"])


def test_bad_input() -> None:
    with pytest.raises(UsageError, match="not a share"):
        detect.install(sample=2)
    with pytest.raises(UsageError, match="no such action"):
        detect.install(action="panic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="min_seconds"):
        detect.install(min_seconds="soon")
    with detect.install(), pytest.raises(UsageError, match="installed already"):
        detect.install()


def test_healing_batches_the_origin_and_says_so_once(engine: Engine) -> None:
    told: list[object] = []
    with detect.install(observer=told.append, min_seconds=0, action="batch"):
        with count_statements(engine) as seen:
            assert page(engine) == 30
        assert seen.count == 7
        for _ in range(2):
            with count_statements(engine) as seen:
                assert page(engine) == 30
            assert seen.count == 2
        other_line = select(User)
        with count_statements(engine) as seen, Session(engine) as session:
            [len(user.posts) for user in session.scalars(other_line.limit(2))]
        assert seen.count == 3, "another origin is as it was"
    healed = [fact for fact in told if isinstance(fact, Healed)]
    assert [(fact.subject, fact.queries) for fact in healed] == [("User.posts", 6)]
    assert "in page" in healed[0].origin
    with count_statements(engine) as seen:
        page(engine)
    assert seen.count == 7, "uninstalled, nothing is healed any more"


def test_healing_leaves_a_policy_alone(engine: Engine) -> None:
    from dal.loading import lazy

    def lazily() -> int:
        with Session(engine) as session:
            return sum(len(user.posts) for user in session.scalars(select(User).options(lazy())))

    with detect.install(observer=lambda fact: None, min_seconds=0, action="batch"):
        lazily()
        with count_statements(engine) as seen:
            lazily()
        assert seen.count == 7
