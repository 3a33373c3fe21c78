"""Databases made ahead: at once while warm, never reused, and nothing left."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from time import monotonic, sleep

import pytest
from sqlalchemy import URL

from dal.embedded import EmbeddedServer
from dal.embedded.databases import connect
from dal.errors import ServerError
from dal.testing import GivenServer, ReadyDatabases, Server, Template

pytest_plugins = ["pytester"]


def fill(url: URL) -> None:
    with connect(url) as connection:
        connection.execute("CREATE TABLE things AS SELECT 1 AS number")


@pytest.fixture(scope="module")
def template(dal_server: Server) -> Iterator[Template]:
    with Template(dal_server, "ready_template", fill=fill) as template:
        yield template


def clones(server: Server) -> set[str]:
    """The clones of this process: another worker of the run makes its own on the same server."""
    with connect(server.url()) as connection:
        found = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [f"ready_template_{os.getpid()}_"]
        )
        return {name for (name,) in found}


def test_a_used_one_is_dropped_and_never_handed_out_again(template: Template, dal_server: Server) -> None:
    seen: set[str | None] = set()
    with ReadyDatabases(template) as databases:
        for _ in range(6):
            with databases.lease() as url, connect(url) as connection:
                assert url.database not in seen
                assert connection.execute("SELECT count(*) FROM things").fetchone() == (1,)
                connection.execute("DELETE FROM things")
            seen.add(url.database)
        deadline = monotonic() + 10
        while clones(dal_server) & seen and monotonic() < deadline:
            sleep(0.01)
        assert not clones(dal_server) & seen
    assert not clones(dal_server)


def test_a_warm_one_is_there_at_once(template: Template) -> None:
    with ReadyDatabases(template) as databases:
        assert databases.warm_up()
        assert databases.stats().idle == 3
        opened = databases.stats().opened
        with databases.lease():
            assert databases.stats().wait.max < 0.005
            assert databases.stats().opened == opened


def test_connections_left_open_do_not_block(template: Template, dal_server: Server) -> None:
    with ReadyDatabases(template, ready=0) as databases:
        with databases.lease() as url:
            left = connect(url)
            left.execute("SELECT 1")
        began = monotonic()
    assert monotonic() - began < 10
    assert not clones(dal_server)
    left.close()


def test_no_more_are_made_than_expected(template: Template) -> None:
    with ReadyDatabases(template, expected=2) as databases:
        for _ in range(2):
            with databases.lease():
                pass
        sleep(0.2)
        assert databases.stats().opened == 2
        with databases.lease():
            assert databases.stats().opened == 3


def test_nothing_happens_before_the_first_lease(template: Template, dal_server: Server) -> None:
    before = set(threading.enumerate())
    with ReadyDatabases(template):
        assert set(threading.enumerate()) <= before
        assert not clones(dal_server)


@pytest.mark.parametrize("after", [0.0, 0.005, 0.02, 0.05])
def test_closing_while_clones_are_made_leaves_none(template: Template, dal_server: Server, after: float) -> None:
    before = set(threading.enumerate())
    databases = ReadyDatabases(template, ready=3)
    with databases.lease():
        pass
    sleep(after)
    databases.close()
    assert not clones(dal_server)
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


def test_a_lease_never_given_back_is_dropped_in_the_end(template: Template, dal_server: Server) -> None:
    databases = ReadyDatabases(template, ready=0)
    lease = databases.lease()
    url = lease.__enter__()
    assert url.database in clones(dal_server)
    databases.close()
    assert not clones(dal_server)


def test_a_template_in_use_is_told_and_recovered_from(template: Template, dal_server: Server) -> None:
    with ReadyDatabases(template, ready=0) as databases:
        busy = connect(dal_server.url(template.name))
        with pytest.raises(ServerError, match="cannot be created: .*being accessed"), databases.lease():
            pass
        busy.close()
        with databases.lease() as url:
            assert url.database in clones(dal_server)


def test_what_could_not_be_dropped_is_told_at_the_end(template: Template, dal_server: Server) -> None:
    databases = ReadyDatabases(template, ready=0)
    with databases.lease() as url, connect(url) as connection:
        connection.execute(f'ALTER DATABASE "{url.database}" IS_TEMPLATE true')
    with pytest.raises(ServerError, match=f"{url.database}: cannot drop a template database"):
        databases.close()
    with connect(url) as connection:
        connection.execute(f'ALTER DATABASE "{url.database}" IS_TEMPLATE false')
    template.drop(url)


PROJECT = """
import os, signal, threading
import pytest
from sqlalchemy import create_engine

def test_other():
    assert not [each.name for each in threading.enumerate() if "test databases" in each.name]

@pytest.fixture
def broken(dal_database):
    yield
    raise RuntimeError("teardown")

@pytest.mark.parametrize("number", range(6))
def test_own(dal_database, number):
    engine = create_engine(dal_database)
    leaked.append(engine.connect())
    assert number != 1
    if number == STOP:
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(20)

def test_broken(broken):
    pass

leaked = []
"""


@pytest.mark.parametrize(("stop", "options"), [(99, ()), (99, ("-n2",)), (3, ())], ids=["errors", "xdist", "ctrl-c"])
def test_nothing_stays_on_a_server_after(pytester: pytest.Pytester, stop: int, options: tuple[str, ...]) -> None:
    pytester.makepyfile(f"STOP = {stop}\n{PROJECT}")
    with EmbeddedServer(tcp=True) as server:
        url = server.url().render_as_string(hide_password=False)
        result = pytester.runpytest_subprocess(f"--dal-url={url}", "-p", "no:randomly", *options, timeout=120)
        with connect(GivenServer(url).url()) as connection:
            names = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
    if stop == 99:
        result.assert_outcomes(passed=7, failed=1, errors=1)
    else:
        result.stdout.fnmatch_lines(["*KeyboardInterrupt*"])
    assert names == {"postgres", "template0", "template1"}


def test_the_pool_is_no_luggage_of_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\ndef test_it():\n    assert 'dal.pool' not in sys.modules")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
