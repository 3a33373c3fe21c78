"""The observed program never fails because it is observed, and observing stays small."""

from __future__ import annotations

import gc
import resource
import threading
import tracemalloc
import weakref
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session, selectinload
from sqlalchemy.pool import StaticPool

from dal.detection import _internals, detect, listeners
from dal.detection.callsite import CallSite
from dal.detection.groups import Group
from dal.detection.reports import record
from dal.detection.scope import Scope
from dal.detection.trail import walk
from dal.errors import NPlusOneFound, UsageError
from dal.repository import Repository
from tests.detection.scenarios.models import Base, User, seed


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        seed(session)
    yield engine
    engine.dispose()


def page(session: Session) -> None:
    for user in session.scalars(select(User)):
        len(user.posts)


alone = pytest.mark.skipif("threading.active_count() > 1", reason="listeners stay while other threads run")


@alone
def test_listeners_are_there_only_while_someone_watches(engine: Engine) -> None:
    watched = InstrumentedAttribute
    assert not listeners.listening()
    with detect():
        assert listeners.listening()
        with Session(engine) as session:
            session.scalars(select(User).options(selectinload(User.posts))).all()
        assert type(User.__dict__["posts"]) is not watched
    assert not listeners.listening()
    assert type(User.__dict__["posts"]) is watched
    assert not event.contains(Session, "before_flush", listeners._flush)


def test_an_error_inside_the_block_comes_out(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), detect():
        raise ZeroDivisionError
    assert not listeners.listening()


def test_a_broken_observer_of_statements_is_counted_and_harms_nobody(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Scope, statement: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(Scope, "add", broken)
    with detect() as report, Session(engine) as session:
        page(session)
    assert report._scope.failed == 7
    assert caplog.text.count("could not be observed") == 1


def test_many_statements_stay_small(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 FROM users")).all()
        gc.collect()
        tracemalloc.start()
        try:
            with detect() as report:
                for number in range(3_000):
                    connection.execute(text("SELECT :n FROM users LIMIT 1"), {"n": number})
                before, _ = tracemalloc.get_traced_memory()
                for number in range(9_000):
                    connection.exec_driver_sql(f"SELECT {number} AS c{number} FROM users LIMIT 1")
                after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert report.count == 12_000
    assert len(report._scope.groups) <= 2_000
    assert after - before < 6_000_000


@pytest.mark.soak
def test_a_million_statements_keep_a_few_megabytes(engine: Engine) -> None:
    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    with engine.connect() as connection, detect() as report:
        for number in range(50_000):
            connection.exec_driver_sql(f"SELECT {number} AS c{number % 5_000} FROM users LIMIT 1")
        before = peak()
        for number in range(950_000):
            connection.exec_driver_sql(f"SELECT {number} AS c{number % 5_000} FROM users LIMIT 1")
        grown = peak() - before
    assert report.count == 1_000_000
    assert grown < 8_000_000


def test_huge_sql(engine: Engine) -> None:
    with detect() as report, engine.connect() as connection:
        for number in range(4):
            literals = ", ".join(str(number * 100_000 + each) for each in range(20_000))
            connection.exec_driver_sql(f"SELECT id FROM users WHERE id IN ({literals})")
    assert all(len(group.sql) <= 4_000 for group in report._scope.groups.values())


def test_code_without_a_file(engine: Engine) -> None:
    code = "def act(session, select, User):\n    for user in session.scalars(select(User)):\n        user.posts\n"
    names: dict[str, object] = {}
    exec(compile(code, "<made up>", "exec"), names)
    with detect() as report, Session(engine) as session:
        names["act"](session, select, User)  # type: ignore[operator]
    (finding,) = report.findings
    assert "test_code_without_a_file" in finding.call_site


def test_deep_recursion_is_folded(engine: Engine) -> None:
    def deeper(left: int) -> None:
        with Session(engine) as session:
            session.get(User, left % 6 + 1)
        if left:
            deeper(left - 1)

    with detect() as report:
        deeper(120)
    assert len(report.findings) <= 2
    assert all(len(finding.stack) < 10 for finding in report.findings)


def test_no_value_is_kept(engine: Engine) -> None:
    with detect(timeline=100) as report, engine.connect() as connection:
        for number in range(5):
            connection.execute(text("SELECT id FROM users WHERE name = :name"), {"name": f"secret-{number}"}).all()
            connection.exec_driver_sql(f"SELECT id FROM users WHERE email = 'secret-{number}'").all()
    assert len(report.findings) == 2
    assert "secret" not in f"{[report.timeline, report.statements, report.findings, str(report), record(report, 'test')]}"


def test_objects_are_not_kept_alive(engine: Engine) -> None:
    with detect() as report:
        with Session(engine) as session:
            user = session.get(User, 1)
            assert user is not None
            len(user.posts)
            gone = weakref.ref(user)
            del user
        gc.collect()
        assert gone() is None
    assert report.count == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_threads_that_die(engine: Engine) -> None:
    def die() -> None:
        with Session(engine) as session:
            session.get(User, 1)
        raise SystemExit

    with detect() as report:
        threads = [threading.Thread(target=die) for _ in range(3)]
        for thread in threads:
            thread.start()
            thread.join()
    assert report.count == 3


def test_nested_blocks_see_their_part(engine: Engine) -> None:
    with Session(engine) as session, detect() as outer:
        session.get(User, 1)
        with detect() as inner:
            session.get(User, 2)
        session.get(User, 3)
    assert (outer.count, inner.count) == (3, 1)
    assert not outer.findings


def test_ignore(engine: Engine) -> None:
    with Session(engine) as session, detect() as report, detect.ignore():
        page(session)
    assert report.count == 7
    assert not report.findings


def test_raise_if_any(engine: Engine) -> None:
    with Session(engine) as session, detect() as report:
        page(session)
    with pytest.raises(NPlusOneFound, match=r"User\.posts was loaded 6 times") as caught:
        report.raise_if_any()
    assert isinstance(caught.value, AssertionError)
    assert caught.value.hint == ".options(selectinload(User.posts))"


def test_options(engine: Engine) -> None:
    with Session(engine) as session, detect(threshold=7) as few:
        page(session)
    assert not few.findings
    with Session(engine) as session, detect(allow=["User.*"]) as allowed:
        page(session)
    assert not allowed.findings
    with Session(engine) as session, detect(allow=["*test_robustness.py:* in page"]) as by_line:
        page(session)
    assert not by_line.findings
    with Session(engine) as session, detect(rules=["repeated-statement"]) as other:
        page(session)
    assert not other.findings


def test_bad_input() -> None:
    with pytest.raises(UsageError, match="threshold=1"):
        detect(threshold=1)
    with pytest.raises(UsageError, match="no rule"):
        detect(rules=["n-plus-two"])
    watch = detect()
    with watch, pytest.raises(UsageError, match="in use already"):
        watch.__enter__()


def test_walk_outside_of_everything() -> None:
    assert walk(None).key == ()
    assert str(CallSite("app/views.py", 28, "page")) == "app/views.py:28 in page"


def test_the_fix_follows_the_path(engine: Engine) -> None:
    with Session(engine) as session, detect() as report:
        for user in session.scalars(select(User)):
            for post in user.posts:
                len(post.comments)
    fixes = {finding.subject: (finding.fix, finding.alternatives) for finding in report.findings}
    assert fixes["Post.comments"][0] == ".options(selectinload(User.posts).selectinload(Post.comments))"
    assert "policy=eager(User.posts, Post.comments)" in fixes["Post.comments"][1]


def test_code_with_repositories_gets_a_policy_to_write(engine: Engine) -> None:
    with Session(engine) as session, detect() as report:
        for user in Repository(session, User).list():
            len(user.posts)
    (finding,) = report.findings
    assert finding.fix == "policy=eager(User.posts)"
    assert finding.loaded_at is not None
    assert "test_robustness.py" in finding.loaded_at


@pytest.mark.parametrize("hook", ["options", "runs"])
def test_without_the_private_hooks(engine: Engine, monkeypatch: pytest.MonkeyPatch, hook: str) -> None:
    """A SQLAlchemy that renames what is private is observed through its public events."""
    monkeypatch.setattr(_internals, "missing", lambda: [hook])
    monkeypatch.setattr(_internals, "_LOAD_OPTIONS", "_renamed")
    if hook == "runs":
        monkeypatch.setattr(_internals, "next_run", lambda: 0)
    with Session(engine) as session, detect() as report:
        page(session)
    assert event.contains(Session, "do_orm_execute", listeners._ask) is False
    (finding,) = report.findings
    assert finding.subject == "User.posts"
    with Session(engine) as session, detect() as silent:
        for user in session.scalars(select(User).options(selectinload(User.posts))):
            len(user.posts)
    assert not silent.findings, str(silent)


def test_groups_have_no_dict() -> None:
    """A group is made for each shape and place; it stays small."""
    assert not hasattr(Group("read", None, "", "", []), "__dict__")
