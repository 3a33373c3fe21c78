"""The data access layer for SQLAlchemy and PostgreSQL.

Names are imported at their first use: a project whose pytest merely finds dal installed pays nothing for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dal.asyncio import AsyncBulkWriter, AsyncDatabase, AsyncObjectPool, AsyncRepository
    from dal.bulk import BulkResult, BulkWriter, Rejected
    from dal.cache import MemoryCache, RedisCache, TieredCache
    from dal.config import CursorConfig, DatabaseConfig, PolicyConfig, PoolConfig
    from dal.database import Database
    from dal.detection import detect
    from dal.embedded import EmbeddedServer
    from dal.errors import (
        CommitUnknown,
        ConfigError,
        ConnectFailed,
        CursorError,
        DalError,
        DeadlineExceeded,
        MissingExtra,
        MultipleFound,
        NotAwaited,
        NotFound,
        NotLoaded,
        PartFailed,
        PoolTimeout,
        ReplicationError,
        RowConflict,
        RowError,
        ServerError,
        SlotLost,
        StageFailed,
        UnsupportedError,
        UsageError,
        WorkerLost,
    )
    from dal.loading import AllowList, NotLoadedWarning, Policy, batched, eager, hybrid, lazy, strict, using_policy
    from dal.paging import Page, Total, using_cursors
    from dal.pool import ConnectionPool, ObjectPool, PoolStats
    from dal.repository import Repository
    from dal.streams import (
        UNCHANGED,
        Alert,
        Anomaly,
        Change,
        Changes,
        Dashboard,
        Flow,
        Invalidations,
        JsonLines,
        Position,
        RedisStream,
        Stream,
        Threshold,
        Webhook,
        avg_of,
        collect_of,
        count_of,
        distinct_of,
        first_of,
        last_of,
        max_of,
        min_of,
        sum_of,
    )

__all__ = [
    "UNCHANGED",
    "Alert",
    "AllowList",
    "Anomaly",
    "AsyncBulkWriter",
    "AsyncDatabase",
    "AsyncObjectPool",
    "AsyncRepository",
    "BulkResult",
    "BulkWriter",
    "Change",
    "Changes",
    "CommitUnknown",
    "ConfigError",
    "ConnectFailed",
    "ConnectionPool",
    "CursorConfig",
    "CursorError",
    "DalError",
    "Dashboard",
    "Database",
    "DatabaseConfig",
    "DeadlineExceeded",
    "EmbeddedServer",
    "Flow",
    "Invalidations",
    "JsonLines",
    "MemoryCache",
    "MissingExtra",
    "MultipleFound",
    "NotAwaited",
    "NotFound",
    "NotLoaded",
    "NotLoadedWarning",
    "ObjectPool",
    "Page",
    "PartFailed",
    "Policy",
    "PolicyConfig",
    "PoolConfig",
    "PoolStats",
    "PoolTimeout",
    "Position",
    "RedisCache",
    "RedisStream",
    "Rejected",
    "ReplicationError",
    "Repository",
    "RowConflict",
    "RowError",
    "ServerError",
    "SlotLost",
    "StageFailed",
    "Stream",
    "Threshold",
    "TieredCache",
    "Total",
    "UnsupportedError",
    "UsageError",
    "Webhook",
    "WorkerLost",
    "avg_of",
    "batched",
    "collect_of",
    "count_of",
    "detect",
    "distinct_of",
    "eager",
    "first_of",
    "hybrid",
    "last_of",
    "lazy",
    "max_of",
    "min_of",
    "strict",
    "sum_of",
    "using_cursors",
    "using_policy",
]

_HOMES = {
    "dal.asyncio": (
        "AsyncBulkWriter",
        "AsyncDatabase",
        "AsyncRepository",
        "AsyncObjectPool",
    ),
    "dal.bulk": (
        "BulkResult",
        "BulkWriter",
        "Rejected",
    ),
    "dal.cache": (
        "MemoryCache",
        "RedisCache",
        "TieredCache",
    ),
    "dal.config": (
        "CursorConfig",
        "DatabaseConfig",
        "PolicyConfig",
        "PoolConfig",
    ),
    "dal.database": ("Database",),
    "dal.detection": ("detect",),
    "dal.embedded": ("EmbeddedServer",),
    "dal.errors": (
        "CommitUnknown",
        "ConfigError",
        "ConnectFailed",
        "CursorError",
        "DalError",
        "DeadlineExceeded",
        "MissingExtra",
        "MultipleFound",
        "NotAwaited",
        "NotFound",
        "NotLoaded",
        "PartFailed",
        "PoolTimeout",
        "ReplicationError",
        "RowConflict",
        "RowError",
        "ServerError",
        "SlotLost",
        "StageFailed",
        "UnsupportedError",
        "UsageError",
        "WorkerLost",
    ),
    "dal.loading": (
        "AllowList",
        "NotLoadedWarning",
        "Policy",
        "batched",
        "eager",
        "hybrid",
        "lazy",
        "strict",
        "using_policy",
    ),
    "dal.paging": ("Page", "Total", "using_cursors"),
    "dal.pool": (
        "ConnectionPool",
        "ObjectPool",
        "PoolStats",
    ),
    "dal.repository": ("Repository",),
    "dal.streams": (
        "UNCHANGED",
        "Alert",
        "Anomaly",
        "Change",
        "Changes",
        "Dashboard",
        "Flow",
        "Invalidations",
        "JsonLines",
        "Position",
        "RedisStream",
        "Stream",
        "Threshold",
        "Webhook",
        "avg_of",
        "collect_of",
        "count_of",
        "distinct_of",
        "first_of",
        "last_of",
        "max_of",
        "min_of",
        "sum_of",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'dal' has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return list(__all__)
