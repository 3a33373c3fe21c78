"""Servers that are killed and restarted, and an application that counts what it sees of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dal.embedded import EmbeddedServer
from dal.pool import ConnectionPool

Make = Callable[..., Engine]


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    durable = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "on")
    with EmbeddedServer(tcp=True, settings={"max_connections": "120", **durable}) as running:
        yield running


@pytest.fixture
def engine(server: EmbeddedServer) -> Iterator[Make]:
    """Make engines over ConnectionPool; each is closed at the end."""
    made: list[Engine] = []

    def make(target: URL | None = None, **settings: Any) -> Engine:
        made.append(create_engine(target or server.url(), poolclass=ConnectionPool, **settings))
        return made[-1]

    yield make
    for one in made:
        assert isinstance(one.pool, ConnectionPool)
        one.pool.close(timeout=1)


def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.002)


def admin(server: EmbeddedServer, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Run one statement on a connection of its own."""
    url = server.url().set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        found = connection.execute(statement.encode(), parameters)
        return found.fetchall() if found.description else []


def application_backends(server: EmbeddedServer, name: str = "dal%") -> list[int]:
    """List the process ids of the application's backends."""
    return [row[0] for row in admin(server, "SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s", name)]


@dataclass
class Load:
    """Threads that read in a loop and count what goes wrong.

    Attributes:
        errors: The errors, with the moments they came.
        successes: The moment of each thread's latest success.
        slowest: The longest read that succeeded, in seconds.
    """

    engine: Engine
    threads: int
    pause: float = 0.0
    errors: list[tuple[float, SQLAlchemyError]] = field(default_factory=list)
    successes: dict[int, float] = field(default_factory=dict)
    slowest: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _workers: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._workers = [threading.Thread(target=self._work, args=(number,)) for number in range(self.threads)]
        for worker in self._workers:
            worker.start()
        until(lambda: len(self.successes) == self.threads)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for worker in self._workers:
            worker.join(60)

    def whole_since(self, moment: float) -> bool:
        """Tell whether every thread has succeeded since a moment."""
        return all(latest > moment for latest in self.successes.values())

    def _work(self, number: int) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                with self.engine.connect() as connection:
                    connection.execute(text("SELECT pg_sleep(0.001)"))
            except (DBAPIError, SQLAlchemyError) as error:
                self.errors.append((time.monotonic(), error))
            else:
                now = time.monotonic()
                self.successes[number] = now
                self.slowest = max(self.slowest, now - began)
            if self.pause:
                time.sleep(self.pause)


class Watch:
    """A thread that notes when the server takes connections again."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._url = server.url().set(drivername="postgresql").render_as_string(hide_password=False)
        self.back_at = 0.0
        self._thread = threading.Thread(target=self._work)

    def start(self) -> Watch:
        """Begin to look."""
        self._thread.start()
        return self

    def wait(self) -> float:
        """Wait for the moment it came back."""
        self._thread.join(120)
        assert self.back_at, "the server did not come back"
        return self.back_at

    def _work(self) -> None:
        while True:
            try:
                psycopg.connect(self._url, connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.003)
            else:
                self.back_at = time.monotonic()
                return
