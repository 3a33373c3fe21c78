"""Which private names of SQLAlchemy 2.1 there are."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import Any

from sqlalchemy.orm import InstanceState, attributes, lazyload, path_registry, strategies
from sqlalchemy.orm.base import PassiveFlag as PassiveFlag
from sqlalchemy.orm.interfaces import CompileStateOption as CompileStateOption
from sqlalchemy.util import concurrency

__all__ = [
    "DEFAULT_TOKEN",
    "DEFERRED",
    "SELECT",
    "CompileStateOption",
    "DeferredColumnLoader",
    "PassiveFlag",
    "Touched",
    "WildcardLoad",
    "missing",
]

Touched = Callable[[InstanceState[Any], PassiveFlag], Any]

WildcardLoad: Any = type(lazyload("*"))
DEFAULT_TOKEN: Any = getattr(path_registry, "_DEFAULT_TOKEN", None)
DeferredColumnLoader: Any = getattr(strategies, "_DeferredColumnLoader", None)

SELECT = (("lazy", "select"),)
DEFERRED = (("deferred", True), ("instrument", True))


@cache
def missing() -> list[str]:
    """Name the private hooks that this version of SQLAlchemy does not have."""
    by_select_in = getattr(getattr(strategies, "_SelectInLoader", None), "_load_for_path", None)
    wanted = {
        "AttributeImpl.callable_": hasattr(getattr(attributes, "_AttributeImpl", None), "callable_"),
        "_SelectInLoader._load_for_path": by_select_in is not None and len(signature(by_select_in).parameters) == 9,
        "_LazyLoader._load_for_state": hasattr(getattr(strategies, "_LazyLoader", None), "_load_for_state"),
        "_DeferredColumnLoader._load_for_state": hasattr(DeferredColumnLoader, "_load_for_state"),
        "_WildcardLoad._set_relationship_strategy": hasattr(WildcardLoad, "_set_relationship_strategy"),
        "_DEFAULT_TOKEN": DEFAULT_TOKEN is not None,
        "concurrency.in_greenlet": hasattr(concurrency, "in_greenlet"),
    }
    return [name for name, found in wanted.items() if not found]
