"""The pytest plugin, run as users run it: in pytest processes of its own."""

from __future__ import annotations

import json

import pytest

pytest_plugins = ["pytester"]

_ARGS = ("-q", "-p", "no:cacheprovider", "-p", "dal.testing.nplusone")

APP = """
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import StaticPool

class Base(DeclarativeBase): ...

class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    orders: Mapped[list["Order"]] = relationship()

class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))

engine = create_engine("sqlite://", poolclass=StaticPool)
Base.metadata.create_all(engine)

def fill(size=3):
    with Session(engine) as session:
        session.add_all([User(orders=[Order(), Order()]) for _ in range(size)])
        session.commit()

def page(session):
    return [len(user.orders) for user in session.scalars(select(User))]

def good(session):
    return session.scalars(select(User)).all()
"""

TESTS = """
import pytest
from sqlalchemy.orm import Session
from app import engine, fill, good, page, User

fill()

@pytest.fixture
def session():
    with Session(engine) as session:
        page(session)
        session.expunge_all()
        yield session

def test_good(session):
    good(session)

def test_bad(session):
    page(session)
"""

# Python 3.13 warns of a connection that nobody closed, whenever it is collected.
CONFTEST = """
import sys

def pytest_unconfigure():
    if "app" in sys.modules:
        sys.modules["app"].engine.dispose()
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    # Only the plugins a test names: to load all that happen to be installed takes longer than the tests.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(app=APP, test_pages=TESTS)
    pytester.makeconftest(CONFTEST)
    pytester.syspathinsert()
    return pytester


def run(project: pytest.Pytester, *args: str) -> pytest.RunResult:
    return project.runpytest_inprocess(*_ARGS, *args)


def test_off_by_default(project: pytest.Pytester) -> None:
    result = run(project)
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*N+1 detection*")


def test_fail_names_the_line_and_the_fix(project: pytest.Pytester) -> None:
    result = run(project, "--nplusone=fail")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*User.orders was loaded 3 times*", "*app.py:26 in page*", "*selectinload(User.orders)*"])


def test_warn_tells_in_the_summary(project: pytest.Pytester) -> None:
    result = run(project, "--nplusone=warn")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*N+1 detection*", "n-plus-one User.orders: 3 statements in 1 test", "*app.py:26*"])


def test_settings_in_the_ini_file(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nnplusone = fail\nnplusone_allow = User.orders\n")
    run(project).assert_outcomes(passed=2)
    project.makeini("[pytest]\nnplusone = fail\nnplusone_threshold = 4\n")
    run(project).assert_outcomes(passed=2)
    project.makeini("[pytest]\nnplusone = loud\n")
    result = run(project)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*write off, warn or fail*"])


def test_marker(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_pages=TESTS
        + """
@pytest.mark.nplusone(allow=["User.*"])
def test_allowed(session): page(session)

@pytest.mark.nplusone(ignore=True)
def test_ignored(session): page(session)

@pytest.mark.nplusone(threshold=9)
def test_few(session): page(session)

@pytest.mark.nplusone(max_queries=2)
def test_budget(session): page(session)

@pytest.mark.nplusone(max_queries=1)
def test_budget_kept(session): good(session)

@pytest.mark.nplusone(max_seconds=0)
def test_time(session): good(session)

@pytest.mark.nplusone(most=3)
def test_misspelled(session): good(session)
"""
    )
    result = run(project, "--nplusone=fail")
    result.assert_outcomes(passed=5, failed=4)
    result.stdout.fnmatch_lines(["*4 statements, allowed are 2*", "*s in the database, allowed are 0*", "*does not know most*"])
    run(project, "-k", "budget or time").assert_outcomes(passed=1, failed=2, deselected=6)


def test_queries_fixture_counts_the_test_only(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_pages=TESTS
        + """
def test_counted(session, queries):
    page(session)
    assert queries.count == 4
    assert queries.findings[0].relationship == "User.orders"
    assert queries.statements[0].count == 3
    assert 0 < queries.seconds < 5
    assert "app.py:26" in repr(queries)
    queries.clear()
    good(session)
    assert queries.count == 1

async def test_async(queries):
    with Session(engine) as session:
        good(session)
    assert queries.count == 1
"""
    )
    loops = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
    result = run(project, "-k", "counted or async", "-p", "pytest_asyncio.plugin", *loops)
    result.assert_outcomes(passed=2, deselected=2)


def test_preparation_in_the_test_file_is_no_finding(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_seed="""
from sqlalchemy.orm import Session
from app import engine, User

def test_seeding():
    with Session(engine) as session:
        users = [User() for _ in range(4)]
        for user in users:
            session.add(user)
            session.flush()
        session.commit()
        assert all(user.id for user in users)
"""
    )
    run(project, "--nplusone=fail", "test_seed.py").assert_outcomes(passed=1)


def test_baseline_is_made_and_only_shrinks(project: pytest.Pytester) -> None:
    file = project.path / "known.json"
    args = ("--nplusone=fail", f"--nplusone-baseline={file}")
    result = run(project, *args)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*made with 1 known*"])
    run(project, *args).assert_outcomes(passed=2)
    made = file.read_text(encoding="utf-8")

    project.makepyfile(test_more="import test_pages\nfrom test_pages import session\nfrom app import *\ndef test_more(session):\n    for user in session.scalars(select(User)): user.orders\n")  # fmt: skip  # noqa: E501
    result = run(project, *args)
    result.assert_outcomes(passed=2, failed=1)
    assert file.read_text(encoding="utf-8") == made

    run(project, *args, "-k", "good").assert_outcomes(passed=1, deselected=2)
    assert file.read_text(encoding="utf-8") == made, "a test that did not run says nothing"

    app = project.path / "app.py"
    app.write_text(app.read_text(encoding="utf-8").replace("[len(user.orders) for", "[user.id for"), encoding="utf-8")
    result = run(project, *args, "test_pages.py")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*0 known findings left, 1 gone*"])
    assert json.loads(file.read_text(encoding="utf-8"))["known"] == []


def test_baseline_that_is_none(project: pytest.Pytester) -> None:
    (project.path / "known.json").write_text("{}", encoding="utf-8")
    result = run(project, "--nplusone=fail", "--nplusone-baseline=known.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*is not a baseline of findings*"])


def test_workers_of_xdist_are_merged(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess(
        *_ARGS, "--nplusone=fail", "--nplusone-report=out.json", "-p", "xdist.plugin", "-n", "2"
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*User.orders: 3 statements in 1 test*"])
    data = json.loads((project.path / "out.json").read_text(encoding="utf-8"))
    assert data["totals"] == {"scopes": 2, "statements": 5, "findings": 1}


def test_reports(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = run(project, "--nplusone=warn", *(f"--nplusone-report=out.{kind}" for kind in ("json", "sarif", "html")))
    result.stdout.fnmatch_lines(["::warning file=app.py,line=26,title=n-plus-one::User.orders was loaded 3 times*"])
    data = json.loads((project.path / "out.json").read_text(encoding="utf-8"))
    finding = next(scope for scope in data["scopes"] if scope["findings"])["findings"][0]
    assert (finding["file"], finding["line"], finding["queries"]) == ("app.py", 26, 3)
    sarif = json.loads((project.path / "out.sarif").read_text(encoding="utf-8"))
    where = sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert where == {"artifactLocation": {"uri": "app.py"}, "region": {"startLine": 26}}
    page = (project.path / "out.html").read_text(encoding="utf-8")
    assert "len(user.orders) for user" in page
    assert "selectinload(User.orders)" in page


def test_report_of_no_format(project: pytest.Pytester) -> None:
    result = run(project, "--nplusone=warn", "--nplusone-report=out.pdf")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*name the file *.html, *.json or *.sarif*"])


def test_it_costs_no_import_when_off(project: pytest.Pytester) -> None:
    project.makepyfile(test_none="import sys\ndef test_none(): assert 'dal.detection' not in sys.modules\n")
    project.runpytest_subprocess(*_ARGS, "test_none.py").assert_outcomes(passed=1)
