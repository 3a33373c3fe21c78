"""A database made once, with schema and data, and cloned for every test that wants its own.

The template is shared by all processes of a test run: the first one makes it, the last one drops it. Advisory locks
of the server count the users, so that a killed process is no user any more.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy.engine import URL

from dal.embedded.databases import connect
from dal.testing.servers import Server

if TYPE_CHECKING:
    import psycopg

__all__ = ["Template"]

_USERS, _MAKING = 0x64616C01, 0x64616C02


class Template:
    """A template database on a server, as a context manager.

    Args:
        server: The server.
        name: A name all processes of a test run agree on.
        fill: Called once with the template's URL: creates the schema, loads data. It has to close its connections.

    Example:
        >>> from dal.embedded import EmbeddedServer
        >>> with EmbeddedServer() as server, Template(server, "shop", fill=lambda url: None) as template:
        ...     with template.clone() as url:
        ...         url.database.startswith("shop_")
        True
    """

    def __init__(self, server: Server, name: str, *, fill: Callable[[URL], object]) -> None:
        self._server = server
        self._name = name
        self._fill = fill
        self._key = zlib.crc32(name.encode()) - 2**31
        self._numbers = itertools.count(1)
        self._use: psycopg.Connection[tuple[Any, ...]] | None = None

    @property
    def name(self) -> str:
        """The name of the database to clone."""
        return self._name

    def __enter__(self) -> Self:
        self._use = connect(self._server.url())
        self._use.execute("SELECT pg_advisory_lock_shared(%s, %s)", (_USERS, self._key))
        self._use.execute("SELECT pg_advisory_lock(%s, %s)", (_MAKING, self._key))
        try:
            self._make(self._use)
        except BaseException:
            self._use.close()
            raise
        self._use.execute("SELECT pg_advisory_unlock(%s, %s)", (_MAKING, self._key))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._use is None:
            return
        with self._use as use:
            use.execute("SELECT pg_advisory_unlock_shared(%s, %s)", (_USERS, self._key))
            if use.execute("SELECT pg_try_advisory_lock(%s, %s)", (_USERS, self._key)).fetchone() == (True,):
                self._server.drop_database(self._name)

    @contextmanager
    def clone(self) -> Iterator[URL]:
        """Make a database of its own for this block.

        Yields:
            The URL of the clone; it is dropped afterwards, with the connections left to it.
        """
        url = self.create()
        try:
            yield url
        finally:
            self.drop(url)

    def create(self) -> URL:
        """Make a clone that stays until it is dropped; any thread may.

        Returns:
            Its URL.

        Raises:
            ServerError: The server refuses, for example because somebody is connected to the template.
        """
        return self._server.create_database(f"{self._name}_{os.getpid()}_{next(self._numbers)}", template=self._name)

    def drop(self, url: URL) -> None:
        """Drop a clone, and end the connections to it; any thread may.

        Args:
            url: What `create` returned.
        """
        self._server.drop_database(url.database or "")

    def _make(self, use: psycopg.Connection[tuple[Any, ...]]) -> None:
        from psycopg import sql

        if use.execute("SELECT 1 FROM pg_database WHERE datname = %s", (self._name,)).fetchone():
            return
        unfinished = f"{self._name}_unfinished"
        self._server.drop_database(unfinished)
        url = self._server.create_database(unfinished)
        try:
            self._fill(url)
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            use.execute(rename.format(sql.Identifier(unfinished), sql.Identifier(self._name)))
        except BaseException:
            self._server.drop_database(unfinished)
            raise
