"""The plugin in projects of other people: each test here runs pytest in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from shutil import which

import pytest

from dal.embedded import EmbeddedServer
from dal.embedded.databases import connect
from dal.errors import ServerError
from dal.testing import GivenServer

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("DAL_TEST_URL", raising=False)
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "COV_"))]:
        monkeypatch.delenv(name)
    pytester.makefile(
        ".ini", pytest="[pytest]\nfilterwarnings = error\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    pytester.makeconftest(
        """
        import pytest
        from sqlalchemy import create_engine, text

        @pytest.fixture(scope="session")
        def dal_schema():
            def create(url):
                with open("created", "a") as file:
                    file.write("x")
                engine = create_engine(url)
                with engine.begin() as connection:
                    connection.execute(text("CREATE TABLE things (id int)"))
                    connection.execute(text("INSERT INTO things VALUES (1)"))
                engine.dispose()
            return create
        """
    )
    pytester.makepyfile(
        test_things="""
        import pytest
        from sqlalchemy import create_engine, text

        @pytest.mark.parametrize("number", range(4))
        def test_own_database(dal_database, dal_server, number):
            engine = create_engine(dal_database)
            with engine.begin() as connection:
                assert connection.scalar(text("SELECT count(*) FROM things")) == 1
                connection.execute(text("INSERT INTO things VALUES (2)"))
                started = connection.scalar(text("SELECT pg_postmaster_start_time()::text"))
            engine.dispose()
            with open("servers", "a") as file:
                file.write(started + "\\n")

        @pytest.mark.parametrize("number", range(2))
        def test_savepoint(dal_session, number):
            assert dal_session.scalar(text("SELECT count(*) FROM things")) == 1
            dal_session.execute(text("INSERT INTO things VALUES (2)"))
            dal_session.commit()

        async def test_async(dal_async_session):
            assert await dal_async_session.scalar(text("SELECT count(*) FROM things")) == 1
        """
    )
    return pytester


def test_one_server_and_one_template_for_the_whole_run(project: pytest.Pytester) -> None:
    project.runpytest_subprocess().assert_outcomes(passed=7)
    assert (project.path / "created").read_text() == "x"


def test_workers_of_xdist_share_server_and_template(project: pytest.Pytester) -> None:
    project.runpytest_subprocess("-n2", "--dist=load").assert_outcomes(passed=7)
    assert (project.path / "created").read_text() == "x"
    assert len(set((project.path / "servers").read_text().splitlines())) == 1


@pytest.mark.parametrize("by", ["option", "environment"])
def test_server_by_url_is_left_as_it_was(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    with EmbeddedServer(tcp=True) as server:
        url = server.url().render_as_string(hide_password=False)
        if by == "environment":
            monkeypatch.setenv("DAL_TEST_URL", url)
        project.runpytest_subprocess(*([f"--dal-url={url}"] if by == "option" else [])).assert_outcomes(passed=7)
        with connect(GivenServer(url).url()) as connection:
            names = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
    assert names == {"postgres", "template0", "template1"}


def test_failing_schema_is_the_error_and_leaves_nothing(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def dal_schema():
            def create(url):
                raise RuntimeError("no such migration")
            return create
        """
    )
    result = project.runpytest_subprocess("-k", "own_database")
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(["*RuntimeError: no such migration*"])


def test_server_in_a_container_or_the_reason_why_not(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess("--dal-server=container", "-k", "own_database")
    if _docker_answers():
        result.assert_outcomes(passed=4)
    else:
        result.assert_outcomes(errors=4)
        result.stdout.fnmatch_lines(["*ServerError: no Docker engine answers here*"])


def test_fixtures_are_listed_with_what_they_are(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess("--fixtures", "test_things.py")
    for name in ("dal_server", "dal_template", "dal_database", "dal_connection", "dal_session", "dal_async_session"):
        assert any(line.startswith(name) for line in result.outlines), name


def test_fixtures_of_pytest_postgresql_work_on_the_embedded_server(pytester: pytest.Pytester) -> None:
    pytester.makefile(".ini", pytest="[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        """
        from pytest_postgresql import factories

        def load(**address):
            import psycopg
            with psycopg.connect(**address) as connection:
                connection.execute("CREATE TABLE things AS SELECT 7 AS number")

        import os
        server = factories.postgresql_noproc(
            host=os.environ["HOST"], port=int(os.environ["PORT"]), user="postgres", password=os.environ["PASSWORD"], load=[load]
        )
        own = factories.postgresql("server")

        def test_things(own):
            assert own.execute("SELECT number FROM things").fetchone() == (7,)
        """
    )
    with EmbeddedServer(tcp=True) as server:
        for host in ("127.0.0.1", str(server.socket_folder)):
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("HOST", host)
                environment.setenv("PORT", str(server.port))
                environment.setenv("PASSWORD", server.password)
                pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_loading_the_plugin_brings_no_more_than_dal_itself() -> None:
    script = (
        "import dal, pytest, sys; old = set(sys.modules); import dal.testing.plugin; print(*sorted(set(sys.modules) - old))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    brought = {name for name in done.stdout.split() if not name.startswith("dal.testing")}
    assert not {name for name in brought if name.split(".")[0] in {"sqlalchemy", "psycopg", "dal", "testcontainers"}}


def _docker_answers() -> bool:
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0 if which("docker") else False


def test_given_server_has_to_be_postgresql() -> None:
    with pytest.raises(ServerError, match="not sqlite"):
        GivenServer("sqlite://")
    assert "hunter2" not in repr(GivenServer("postgresql+psycopg://app:hunter2@db.example/postgres"))
