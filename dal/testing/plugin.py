"""The pytest plugin: a real PostgreSQL for tests, and a database of its own for each that wants one.

It comes with the installed package and costs nothing until one of its fixtures is used. By default the server is the
embedded one (extra `embedded`), one for the whole run, shared by the workers of pytest-xdist. Otherwise:
`--dal-url=postgresql+psycopg://...` (or DAL_TEST_URL) for a server that runs, `--dal-server=container` for a container.

Example:
    A project's conftest.py says what a fresh database contains, tests ask for one::

        @pytest.fixture(scope="session")
        def dal_schema():
            def create(url):
                engine = create_engine(url)
                Base.metadata.create_all(engine)
                engine.dispose()
            return create

        def test_orders(dal_session):        # rolled back afterwards; fast
            dal_session.add(Order(...))

        def test_import(dal_database):       # the URL of a database of its own; may commit, drop, anything
            import_orders(create_engine(dal_database))
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Engine
    from sqlalchemy.orm import Session

    from dal.testing.ready import ReadyDatabases
    from dal.testing.servers import Server
    from dal.testing.templates import Template

_FOLDER = pytest.StashKey[str]()
_RUN = "PYTEST_XDIST_TESTRUNUID"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose the server."""
    group = parser.getgroup("dal", "PostgreSQL for tests")
    group.addoption("--dal-url", metavar="URL", help="a running server; the role has to be allowed to create databases")
    group.addoption(
        "--dal-server",
        choices=("embedded", "container"),
        default="embedded",
        help="where no --dal-url is given (default: embedded)",
    )
    group.addoption("--dal-image", metavar="IMAGE", default="postgres:18", help="the image of --dal-server=container")


def pytest_configure(config: pytest.Config) -> None:
    """Add the async fixtures where pytest-asyncio runs."""
    if config.pluginmanager.hasplugin("asyncio"):
        from dal.testing import async_fixtures

        config.pluginmanager.register(async_fixtures, "dal_async")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give the workers of pytest-xdist one folder for their one server."""
    if _FOLDER not in node.config.stash:
        node.config.stash[_FOLDER] = tempfile.mkdtemp(prefix="dal-data-")
    node.workerinput["dal_server_folder"] = node.config.stash[_FOLDER]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the workers' folder where none of them used it."""
    if _FOLDER in config.stash:
        shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)


@pytest.fixture(scope="session")
def dal_server_settings() -> Mapping[str, str]:
    """Settings of the embedded server; override it for `wal_level` and the like."""
    return {}


@pytest.fixture(scope="session")
def dal_server(request: pytest.FixtureRequest, dal_server_settings: Mapping[str, str]) -> Iterator[Server]:
    """The PostgreSQL of this test run."""
    url = request.config.getoption("--dal-url") or os.environ.get("DAL_TEST_URL")
    with ExitStack() as stack:
        if url:
            from dal.testing.servers import GivenServer

            yield GivenServer(url)
        elif request.config.getoption("--dal-server") == "container":
            from dal.testing.servers import container_server

            yield stack.enter_context(container_server(str(request.config.getoption("--dal-image"))))
        else:
            from dal.embedded import EmbeddedServer

            folder: str | None = getattr(request.config, "workerinput", {}).get("dal_server_folder")
            data = None if folder is None else Path(folder)
            yield stack.enter_context(EmbeddedServer(data, settings=dal_server_settings, temporary=True))


@pytest.fixture(scope="session")
def dal_schema() -> Callable[[URL], object]:
    """What a fresh database contains: a function of its URL, called once a run; override it. By default nothing."""
    return lambda url: None


@pytest.fixture(scope="session")
def dal_template(dal_server: Server, dal_schema: Callable[[URL], object]) -> Iterator[Template]:
    """The database that all others of this run are cloned from."""
    from dal.testing.templates import Template

    run = os.environ.get(_RUN) or uuid.uuid4().hex
    with Template(dal_server, f"dal_test_{run[:12]}", fill=dal_schema) as template:
        yield template


@pytest.fixture(scope="session")
def dal_ready_databases(request: pytest.FixtureRequest, dal_template: Template) -> Iterator[ReadyDatabases]:
    """The clones that are made ahead for `dal_database`: two, and never more than tests are left that want one."""
    from dal.testing.ready import ReadyDatabases

    wanted = sum("dal_database" in getattr(item, "fixturenames", ()) for item in request.session.items)
    with ReadyDatabases(dal_template, expected=wanted) as databases:
        yield databases


@pytest.fixture
def dal_database(dal_ready_databases: ReadyDatabases) -> Iterator[URL]:
    """The URL of a database of its own: a clone of the template, dropped after the test."""
    with dal_ready_databases.lease() as url:
        yield url


@pytest.fixture(scope="session")
def dal_shared_database(dal_template: Template) -> Iterator[URL]:
    """The URL of the database whose tests take their changes back: `dal_connection`, `dal_session`."""
    with dal_template.clone() as url:
        yield url


@pytest.fixture(scope="session")
def dal_shared_engine(dal_shared_database: URL) -> Iterator[Engine]:
    """The engine of `dal_connection` and `dal_session`."""
    from sqlalchemy import create_engine

    engine = create_engine(dal_shared_database)
    yield engine
    engine.dispose()


@pytest.fixture
def dal_connection(dal_shared_engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that is rolled back after the test; sequences do not go back."""
    with dal_shared_engine.connect() as connection, connection.begin() as transaction:
        yield connection
        if transaction.is_active:
            transaction.rollback()


@pytest.fixture
def dal_session(dal_connection: Connection) -> Iterator[Session]:
    """A session whose commits and rollbacks are savepoints of `dal_connection`: nothing outlives the test."""
    from sqlalchemy.orm import Session

    with Session(dal_connection, join_transaction_mode="create_savepoint") as session:
        yield session
