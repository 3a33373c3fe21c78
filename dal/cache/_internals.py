"""The names of SQLAlchemy 2.1 that are not promised, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Engine, util
from sqlalchemy.orm import InstanceState, Mapper, RelationshipProperty
from sqlalchemy.orm.collections import CollectionAdapter, InstrumentedList, collection_adapter

__all__ = [
    "Refusals",
    "by_primary_key",
    "collection_filler",
    "identity_of",
    "instance_maker",
    "load_stock",
    "members",
    "replace_method",
    "root_of",
    "statements_of",
    "wait_for",
]

_await: Any = getattr(util, "await_", None) or util.await_only


def wait_for(awaitable: Any) -> Any:
    """Await inside one of SQLAlchemy's greenlets."""
    return _await(awaitable)


def instance_maker(mapper: Mapper[Any], columns: tuple[str, ...], refusals: Refusals) -> Callable[[Any, tuple[Any, ...]], Any]:
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
            state.callables = refusals
        return one

    return make


def identity_of(state: InstanceState[Any]) -> Any:
    """Return the identity key of a persistent object."""
    return state.key


def by_primary_key(prop: RelationshipProperty[Any]) -> bool:
    """Tell whether a relationship is answered by the primary key of what it leads to, and by nothing else."""
    strategy: Any = prop._get_strategy((("lazy", "select"),))
    return bool(getattr(strategy, "use_get", False))


def collection_filler(mapper: Mapper[Any], key: str) -> Callable[[InstanceState[Any], dict[str, Any], list[Any]], Any]:
    """Return what puts a loaded collection in its place, with no history."""
    impl: Any = mapper.class_manager[key].impl
    filler: Callable[[InstanceState[Any], dict[str, Any], list[Any]], Any] = impl.set_committed_value
    if getattr(impl, "collection_factory", None) is not InstrumentedList:
        return filler
    listeners = impl.dispatch.init_collection

    def fill(state: InstanceState[Any], loaded: dict[str, Any], objects: list[Any]) -> None:
        if listeners:
            filler(state, loaded, objects)
            return
        collection: Any = InstrumentedList(objects)
        CollectionAdapter(impl, state, collection)
        loaded[key] = collection

    return fill


class Refusals(dict[str, Any]):
    """Functions that answer for attributes that are not loaded, for all objects of a plan: none takes them out."""

    def pop(self, key: str, default: Any = None) -> Any:
        """Leave it: SQLAlchemy takes them out of one object's, and they are everybody's."""
        return default


def load_stock(state: InstanceState[Any], key: str, passive: Any) -> Any:
    """Load an attribute of an object that has a session, as SQLAlchemy would."""
    if key in state.mapper.relationships:
        impl: Any = state.manager[key].impl
        return impl.callable_(state, passive)
    state.expired_attributes.add(key)
    return state._load_expired(state, passive)


def members(value: Any) -> list[Any]:
    """Return the objects in a loaded collection."""
    return value if type(value) is InstrumentedList else list(collection_adapter(value))


def root_of(engine: Engine) -> Engine:
    """Return the engine behind one that `execution_options()` made; what listens to it hears them all."""
    while (inner := getattr(engine, "_proxied", None)) is not None:
        engine = inner
    return engine


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
    stock = getattr(dialect, name)
    own = vars(dialect).get(name)
    made: Callable[..., Any] | None = make(stock)

    def standing(*given: Any, **named: Any) -> Any:
        return (made or stock)(*given, **named)

    def restore() -> None:
        nonlocal made
        made = None
        # Somebody else may stand in front by now; then what is left here only passes on.
        if vars(dialect).get(name) is standing:
            if own is None:
                delattr(dialect, name)
            else:
                setattr(dialect, name, own)

    setattr(dialect, name, standing)
    return restore
