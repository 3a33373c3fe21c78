"""Keeping expensive things ready: `ObjectPool` for anything, `ConnectionPool` for SQLAlchemy engines."""

from dal.pool.connections import ConnectionPool
from dal.pool.objects import ObjectPool
from dal.pool.stats import Percentiles, PoolStats

__all__ = ["ConnectionPool", "ObjectPool", "Percentiles", "PoolStats"]
