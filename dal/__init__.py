"""The data access layer for SQLAlchemy and PostgreSQL."""

from importlib import import_module
from typing import TYPE_CHECKING

from dal.config import DatabaseConfig, PolicyConfig, PoolConfig
from dal.database import Database
from dal.errors import (
    CommitUnknown,
    ConfigError,
    ConnectFailed,
    DalError,
    DeadlineExceeded,
    MissingExtra,
    MultipleFound,
    NotAwaited,
    NotFound,
    NotLoaded,
    PoolTimeout,
    ServerError,
    UnsupportedError,
    UsageError,
)
from dal.loading import AllowList, NotLoadedWarning, Policy, batched, eager, hybrid, lazy, strict, using_policy
from dal.repository import Repository

if TYPE_CHECKING:
    from dal.asyncio import AsyncDatabase, AsyncRepository
    from dal.pool import ConnectionPool, ObjectPool, PoolStats

__all__ = [
    "AllowList",
    "AsyncDatabase",
    "AsyncRepository",
    "CommitUnknown",
    "ConfigError",
    "ConnectFailed",
    "ConnectionPool",
    "DalError",
    "Database",
    "DatabaseConfig",
    "DeadlineExceeded",
    "MissingExtra",
    "MultipleFound",
    "NotAwaited",
    "NotFound",
    "NotLoaded",
    "NotLoadedWarning",
    "ObjectPool",
    "Policy",
    "PolicyConfig",
    "PoolConfig",
    "PoolStats",
    "PoolTimeout",
    "Repository",
    "ServerError",
    "UnsupportedError",
    "UsageError",
    "batched",
    "eager",
    "hybrid",
    "lazy",
    "strict",
    "using_policy",
]

_ON_FIRST_USE = {
    "AsyncDatabase": "dal.asyncio",
    "AsyncRepository": "dal.asyncio",
    "ConnectionPool": "dal.pool",
    "ObjectPool": "dal.pool",
    "PoolStats": "dal.pool",
}


def __getattr__(name: str) -> object:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module 'dal' has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(_ON_FIRST_USE[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
