"""The private names of SQLAlchemy 2.1 this room reads, and what stands in for each where it is missing.

What the ORM knows about a statement (which parent asked for it, which attribute) travels in private execution options; reading
them costs nothing until a statement is looked at. `missing()` says which are gone; `listeners` then asks the public
`do_orm_execute` event instead, at about 4 microseconds a statement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy.orm import QueryableAttribute, context, loading

__all__ = [
    "PUBLIC_OPTION",
    "Asked",
    "asked",
    "compile_path",
    "entity_of",
    "is_orm",
    "is_refresh",
    "joined_paths",
    "listeners_behind",
    "missing",
    "next_run",
    "only_columns",
    "swap_class",
]

PUBLIC_OPTION = "_dal_detection"
"""The execution option under which the public event leaves what it saw."""

_LOAD_OPTIONS = "_sa_orm_load_options"
_JOINED = ("eager_row_processor", "user_defined_eager_row_processor")
_TOP_LEVEL = "sa_top_level_orm_context"


class Asked(NamedTuple):
    """What the ORM says about one statement.

    Attributes:
        parent: The state of the object whose attribute was touched, of a lazy load.
        refreshed: The state of the object whose columns are loaded.
        by_user: The load was asked for by `session.refresh()`; so is an eager load that belongs to it.
        path: Mappers and properties that lead to what is loaded; empty for a statement of the application's own.
    """

    parent: Any | None
    refreshed: Any | None
    by_user: bool
    path: tuple[Any, ...]


_OWN = Asked(None, None, False, ())


def missing() -> list[str]:
    """Name the private hooks that this version of SQLAlchemy does not have."""
    options = getattr(getattr(context, "QueryContext", None), "default_load_options", None)
    wanted = {
        "QueryContext.default_load_options": all(
            hasattr(options, name) for name in ("_lazy_loaded_from", "_refresh_state", "_is_user_refresh")
        ),
        "loading._new_runid": callable(getattr(loading, "_new_runid", None)),
    }
    return [name for name, found in wanted.items() if not found]


def asked(execution: Any) -> Asked | None:
    """Return what the ORM says about an execution context, or None for a statement that is not the ORM's."""
    options = execution.execution_options
    public: Asked | None = options.get(PUBLIC_OPTION)
    if public is not None:
        return public
    load = options.get(_LOAD_OPTIONS)
    if load is None:
        # The default options do not travel.
        compiled = execution.compiled
        return _OWN if compiled is not None and is_orm(compiled) else None
    parent, refreshed = load._lazy_loaded_from, load._refresh_state
    if parent is None and refreshed is None:
        path = compile_path(execution)
        return Asked(None, None, False, path) if len(path) > 1 else _OWN
    if parent is not None and _TOP_LEVEL in options:
        # immediateload and refresh of relationships: eager, although they name a parent.
        return Asked(None, None, is_refresh(options), compile_path(execution) or (None, None))
    return Asked(parent, refreshed, bool(load._is_user_refresh), compile_path(execution))


def is_refresh(options: Any) -> bool:
    """Tell from the options of an eager load whether it belongs to a `session.refresh()`."""
    return bool(getattr(getattr(options[_TOP_LEVEL], "load_options", None), "_is_user_refresh", False))


def is_orm(compiled: Any) -> bool:
    """Tell whether a compiled statement is a SELECT of the ORM, sent by a session."""
    return hasattr(compiled.compile_state, "global_attributes")


def compile_path(execution: Any) -> tuple[Any, ...]:
    """Return the mappers and properties that lead to what a statement loads."""
    options = getattr(execution.invoked_statement, "_compile_options", None)
    path = getattr(options, "_current_path", None)
    return tuple(path.path) if path is not None else ()


def only_columns(execution: Any) -> tuple[str, ...]:
    """Return the attributes that a refresh loads, sorted; empty means all."""
    options = getattr(execution.invoked_statement, "_compile_options", None)
    return tuple(sorted(getattr(options, "_only_load_props", None) or ()))


def joined_paths(execution: Any) -> tuple[tuple[Any, ...], ...]:
    """Return the path of each relationship that a statement loads by a join of its own."""
    attributes = getattr(getattr(execution.compiled, "compile_state", None), "attributes", None) or {}
    return tuple(tuple(key[1]) for key in attributes if isinstance(key, tuple) and len(key) == 2 and key[0] in _JOINED)


def entity_of(execution: Any) -> Any | None:
    """Return the mapper of the first entity of an ORM statement."""
    entities = getattr(getattr(execution.compiled, "compile_state", None), "_lead_mapper_entities", None)
    return getattr(entities[0], "mapper", None) if entities else None


def listeners_behind(listener: Callable[..., bool], dialect: Any, name: str) -> tuple[Callable[..., bool], ...]:
    """Return the listeners of an event of a dialect that come after one, and are not asked when that one acts."""
    every = tuple(getattr(dialect.dispatch, name))
    return every[every.index(listener) + 1 :] if len(every) > 1 and listener in every else ()


def next_run() -> int:
    """Draw the next number of the series that numbers results: objects of later results carry a higher one."""
    number: int = loading._new_runid()
    return number


def swap_class(attribute: QueryableAttribute[Any], new: type) -> Callable[[], None]:
    """Give one mapped attribute another class, to see it read; returns what undoes it."""
    old = type(attribute)
    attribute.__class__ = new

    def undo() -> None:
        attribute.__class__ = old

    return undo
