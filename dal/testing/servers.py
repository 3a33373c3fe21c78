"""Where test databases live: an embedded server, a server given by URL, or a container."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from sqlalchemy.engine import URL, make_url

from dal._extras import require
from dal.embedded.databases import create_database, drop_database
from dal.errors import ServerError

__all__ = ["GivenServer", "Server", "container_server"]


class Server(Protocol):
    """What the fixtures need of a server; `dal.embedded.EmbeddedServer` is one."""

    def url(self, database: str = "postgres") -> URL:
        """Build the URL of a database."""
        ...

    def create_database(self, name: str, *, template: str | None = None) -> URL:
        """Create a database, as a clone of `template` where one is named."""
        ...

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, and end the connections to it."""
        ...


class GivenServer:
    """A server that already runs, known by the URL of a role that may create databases.

    Args:
        url: The URL; its database is not touched.

    Example:
        >>> GivenServer("postgresql+psycopg://app@db.example/postgres").url("shop").database
        'shop'
    """

    def __init__(self, url: str | URL) -> None:
        self._url = make_url(url)
        if self._url.get_backend_name() != "postgresql":
            raise ServerError(
                f"test databases need PostgreSQL, not {self._url.get_backend_name()}",
                hint="--dal-url=postgresql+psycopg://user:password@host/postgres",
            )

    def __repr__(self) -> str:
        return f"GivenServer({self._url!r})"

    def url(self, database: str = "postgres") -> URL:
        """Build the URL of a database.

        Args:
            database: Its name.
        """
        return self._url.set(database=database)

    def create_database(self, name: str, *, template: str | None = None) -> URL:
        """Create a database.

        Args:
            name: Its name.
            template: The database to clone, by default an empty one.
        """
        create_database(self.url(name), template=template)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, and end the connections to it.

        Args:
            name: Its name.
        """
        drop_database(self.url(name))


@contextmanager
def container_server(image: str = "postgres:18") -> Iterator[GivenServer]:
    """Run PostgreSQL in a container for this block.

    Args:
        image: The image to run.

    Yields:
        The server.

    Raises:
        MissingExtra: testcontainers is not installed.
        ServerError: No Docker engine answers.
    """
    purpose = "a server in a container"
    docker = require("docker", extra="test", purpose=purpose)
    postgres = require("testcontainers.community.postgres", extra="test", purpose=purpose)
    try:
        client = docker.from_env()
        try:
            client.ping()
        finally:
            client.close()
    except docker.errors.DockerException as error:
        raise ServerError(
            "no Docker engine answers here", hint="start one, or use the embedded server: --dal-server=embedded"
        ) from error
    with postgres.PostgresContainer(image, driver="psycopg") as container:
        yield GivenServer(container.get_connection_url())
