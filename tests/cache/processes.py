"""Other processes for the tests of the cache: they write, and end in several ways."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from sqlalchemy import update
from sqlalchemy.engine import URL

from dal import Database, MemoryCache, RedisCache, TieredCache
from dal.cache.bus import Bus
from tests.cache.models import Author, authors

WAYS = ("closes", "just ends", "is killed")


def settings(redis: str | None) -> Any:
    """Return the settings of a cache, with Redis where its URL is given."""
    return MemoryCache() if redis is None else TieredCache(MemoryCache(), RedisCache(redis))


def write(url: str, way: str, name: str) -> None:
    """Change every author's name, and end."""
    db = Database(url, cache=MemoryCache())
    db.cache.fetch("before", authors)
    assert db.cache.stats().listening
    if way == "is killed":
        # Between the COMMIT and the message, as the worst moment would have it.
        Bus._send = lambda self, connection: None  # type: ignore[method-assign]
    with db.transaction() as session:
        session.execute(update(Author).values(name=name))
    if way == "closes":
        db.close()
    if way == "is killed":
        sys.stdout.flush()
        os.kill(os.getpid(), 9)


def fork_and_write(url: str, name: str) -> None:
    """Read in a process, fork, and let the child write and read."""
    db = Database(url, cache=MemoryCache())
    db.cache.fetch("key", authors)
    assert db.cache.has("key")
    child = os.fork()
    if child == 0:
        inherited = db.cache.has("key")
        with db.transaction() as session:
            session.execute(update(Author).values(name=name))
        seen = db.cache.fetch("key", authors)[0].name
        db.close()
        os._exit(0 if not inherited and seen == name else 1)
    _, status = os.waitpid(child, 0)
    end = time.monotonic() + 10
    while db.cache.has("key") and time.monotonic() < end:
        time.sleep(0.005)
    # It was told, on the connection that the child had inherited and has let alone.
    assert not db.cache.has("key")
    assert db.cache.stats().restarts == 1
    db.close()
    sys.exit(os.waitstatus_to_exitcode(status))


def run(function: str, url: URL, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of these functions in a process of its own."""
    program = f"import sys; from tests.cache import processes; processes.{function}(*sys.argv[1:])"
    shown = url.render_as_string(hide_password=False)
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", program, shown, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
