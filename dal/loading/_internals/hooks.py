"""Where SQLAlchemy asks for what is not there, and a function can be put in front."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from sqlalchemy.orm import Mapper, RelationshipProperty

from dal.loading._internals.names import DEFERRED, SELECT, DeferredColumnLoader, PassiveFlag, Touched

__all__ = [
    "by_primary_key",
    "deferred_group",
    "select_touch",
    "swap_deferred",
    "swap_expired",
    "swap_touch",
    "without_sql",
]


_ours: WeakSet[Callable[..., Any]] = WeakSet()


def swap_touch(mapper: Mapper[Any], key: str, make: Callable[[Touched], Touched]) -> None:
    """Put a function in front of the class-level loader of an attribute, once."""
    attribute = mapper.class_manager.get(key)
    impl: Any = attribute.impl if attribute is not None else None
    stock = getattr(impl, "callable_", None)
    if stock is not None and stock not in _ours:
        impl.callable_ = make(stock)
        _ours.add(impl.callable_)


def swap_deferred(mapper: Mapper[Any], key: str, make: Callable[[Touched], Touched]) -> None:
    """Put a function in front of the loader that `defer()` options use for a column."""
    prop: Any = mapper.attrs[key]
    strategy = prop._get_strategy(DEFERRED)
    if type(strategy) is DeferredColumnLoader:
        swapped: Any = _new_deferred(prop, DEFERRED)
        swapped.is_class_level = strategy.is_class_level
        swapped.make = make
        prop._strategies[DEFERRED] = swapped
        if prop.strategy is strategy:
            prop.strategy = swapped


class _Deferred(DeferredColumnLoader or object):  # type: ignore[misc]
    """SQLAlchemy's deferred loader, with the policy asked first."""

    __slots__ = ("make",)

    make: Callable[[Touched], Touched]

    def _load_for_state(self, state: Any, passive: PassiveFlag) -> Any:
        return self.make(super()._load_for_state)(state, passive)


_new_deferred: Any = _Deferred


def swap_expired(mapper: Mapper[Any], make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put a function in front of the loader of expired columns and columns of sub-tables, once."""
    manager: Any = mapper.class_manager
    stock = manager.expired_attribute_loader
    if stock not in _ours:
        manager.expired_attribute_loader = make(stock)
        _ours.add(manager.expired_attribute_loader)


def select_touch(prop: RelationshipProperty[Any]) -> Touched | None:
    """Return the loader of `lazy="select"` for a relationship that is mapped otherwise."""
    strategy: Any = prop._get_strategy(SELECT)
    loader: Touched = strategy._load_for_state
    return loader


def by_primary_key(prop: RelationshipProperty[Any]) -> bool:
    """Tell whether a relationship can be answered from the identity map by primary key."""
    strategy: Any = prop._get_strategy(SELECT)
    return bool(strategy.use_get)


def without_sql(passive: PassiveFlag) -> PassiveFlag:
    """Return the flags that ask for an answer from the identity map or from nowhere."""
    return (passive ^ PassiveFlag.SQL_OK) | PassiveFlag.RELATED_OBJECT_OK


def deferred_group(mapper: Mapper[Any], key: str) -> list[str]:
    """Return the column attributes that are loaded together with a deferred one."""
    group = mapper.attrs[key].group
    if not group:
        return [key]
    return [prop.key for prop in mapper.column_attrs if prop.group == group and prop.deferred]
