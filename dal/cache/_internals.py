"""The names of SQLAlchemy 2.1 that are not promised, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import util
from sqlalchemy.orm import InstanceState, Mapper, RelationshipProperty
from sqlalchemy.orm.collections import InstrumentedList, collection_adapter

__all__ = [
    "by_primary_key",
    "collection_filler",
    "identity_of",
    "instance_maker",
    "members",
    "replace_method",
    "statements_of",
    "wait_for",
]

_await: Any = getattr(util, "await_", None) or util.await_only


def wait_for(awaitable: Any) -> Any:
    """Await inside one of SQLAlchemy's greenlets."""
    return _await(awaitable)


def instance_maker(
    mapper: Mapper[Any], columns: tuple[str, ...], refusals: dict[str, Callable[..., Any]]
) -> Callable[[Any, tuple[Any, ...]], Any]:
    """Return what makes a detached object, as loading would, without calling `__init__`.

    Args:
        mapper: The class's mapper.
        columns: The attributes it is given values for.
        refusals: Functions that answer for attributes that are not loaded.

    Returns:
        A function of an identity key and values. It is called for every object of a page, hence no call more than needed.
    """
    manager: Any = mapper.class_manager
    class_: Any = mapper.class_
    new, set_state = class_.__new__, manager._state_setter
    state_of = manager._state_constructor

    def make(identity: Any, values: tuple[Any, ...]) -> Any:
        one = new(class_)
        state = state_of(one, manager)
        set_state(one, state)
        one.__dict__.update(zip(columns, values))  # noqa: B905
        state.key = identity
        if refusals:
            state.callables = refusals.copy()
        return one

    return make


def identity_of(state: InstanceState[Any]) -> Any:
    """Return the identity key of a persistent object."""
    return state.key


def by_primary_key(prop: RelationshipProperty[Any]) -> bool:
    """Tell whether a relationship is answered by the primary key of what it leads to, and by nothing else."""
    strategy: Any = prop._get_strategy((("lazy", "select"),))
    return bool(getattr(strategy, "use_get", False))


def collection_filler(mapper: Mapper[Any], key: str) -> Callable[[InstanceState[Any], dict[str, Any], list[Any]], None]:
    """Return what puts a loaded collection in its place, with no history."""
    filler: Callable[[InstanceState[Any], dict[str, Any], list[Any]], None] = mapper.class_manager[key].impl.set_committed_value
    return filler


def members(value: Any) -> list[Any]:
    """Return the objects in a loaded collection."""
    return value if type(value) is InstrumentedList else list(collection_adapter(value))


def statements_of(compiled: Any) -> Iterator[Any]:
    """Give the statements behind a compiled one: what was written, and what the ORM made of it."""
    for found in (getattr(compiled, "statement", None), getattr(getattr(compiled, "compile_state", None), "statement", None)):
        if found is not None:
            yield found


def replace_method(dialect: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Callable[[], None]:
    """Put a function around a method of one dialect object; there is no event after a commit.

    Args:
        dialect: The dialect.
        name: One of the documented methods, such as `do_commit`.
        make: Given the method, returns what stands in its place.

    Returns:
        A function that puts the method back.
    """
    setattr(dialect, name, make(getattr(dialect, name)))

    def restore() -> None:
        vars(dialect).pop(name, None)

    return restore
