"""Keeping expensive things ready: `ObjectPool` for anything, `ConnectionPool` for SQLAlchemy engines.

`ConnectionPool` is imported at its first use: it brings in psycopg, which the table of retries can do without.
"""

from typing import TYPE_CHECKING

from dal.pool.objects import ObjectPool
from dal.pool.stats import Percentiles, PoolStats

if TYPE_CHECKING:
    from dal.pool.connections import ConnectionPool

__all__ = ["ConnectionPool", "ObjectPool", "Percentiles", "PoolStats"]


def __getattr__(name: str) -> object:
    if name != "ConnectionPool":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dal.pool.connections import ConnectionPool

    return ConnectionPool
