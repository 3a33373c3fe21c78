"""Open the prefetcher of a database."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.pool import Pool

from dal.pool import ConnectionPool
from dal.prefetch.executors import Executor
from dal.prefetch.prefetcher import Prefetcher
from dal.prefetch.spare import shortage
from dal.written import WRITTEN

__all__ = ["distrust", "open_prefetcher"]

_ANY_TABLE = "*"


def open_prefetcher(engine: Engine, executor: Executor) -> Prefetcher:
    """Open a prefetcher; nothing is started.

    Args:
        engine: The database's engine; the sync one behind an async engine.
        executor: Threads or tasks.

    Returns:
        The prefetcher.
    """
    # The engine's pool may be replaced while it runs.
    return Prefetcher(executor, lambda: shortage(engine.pool))


def distrust(pool: Pool) -> None:
    """Take every transaction that is under way for one that has written everything.

    A cache that is opened in the middle of work has not seen what they wrote; when they commit, it is to drop what it keeps.

    Args:
        pool: The engine's pool; others than dal's do not tell what is out.
    """
    if isinstance(pool, ConnectionPool):
        for record in pool.lent():
            record.info.setdefault(WRITTEN, set()).add(_ANY_TABLE)
