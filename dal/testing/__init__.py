"""Real PostgreSQL in tests: pytest fixtures, and statements counted.

The fixtures come with the installed package (see `dal.testing.plugin`); they need nothing of the rest of dal. What is
named here is imported when used, so that a test run which uses none of it does not pay for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dal.testing.constant import assert_constant_queries
    from dal.testing.counting import Statements, count_statements
    from dal.testing.ready import ReadyDatabases
    from dal.testing.servers import GivenServer, Server, container_server
    from dal.testing.templates import Template

__all__ = [
    "GivenServer",
    "ReadyDatabases",
    "Server",
    "Statements",
    "Template",
    "assert_constant_queries",
    "container_server",
    "count_statements",
]

_HOMES = {
    "GivenServer": "servers",
    "ReadyDatabases": "ready",
    "Server": "servers",
    "Statements": "counting",
    "Template": "templates",
    "assert_constant_queries": "constant",
    "container_server": "servers",
    "count_statements": "counting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
