"""Batched loading by public API alone, for a version of SQLAlchemy that lacks a private hook.

`_internals.missing()` names the hooks; this file takes over by itself. A relationship is loaded by selecting the parents
again with `selectinload()`, one statement more a batch. Where the attribute cannot be watched, the `do_orm_execute`
event of the statement that SQLAlchemy would send for one object is answered instead.

Two things are not reached this way: what is mapped `lazy="raise"` is refused before there is a statement, and paths that
go on below a relationship, of a policy or of the statement's own options, are not followed in what a batch loads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.engine import IteratorResult, Result
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.orm import InstanceState, Load, ORMExecuteState, RelationshipProperty, load_only, selectinload
from sqlalchemy.orm.collections import collection_adapter

from dal.loading import _internals
from dal.loading.touch import Kind

__all__ = ["answer", "load_with_parents"]

Ask = Callable[[InstanceState[Any], Kind, set[str], bool, Callable[[], Any]], Any]

_STOCK = object()


def load_with_parents(
    prop: RelationshipProperty[Any], states: Sequence[InstanceState[Any]], policy: Any, *, autoflush: bool
) -> None:
    """Fill a relationship of objects of one result by selecting them again.

    Args:
        prop: The relationship.
        states: The objects, of one session, 500 at most.
        policy: The policy that what is loaded goes on with.
        autoflush: Whether pending changes may be flushed before.
    """
    session = states[0].session
    assert session is not None
    mapper = prop.parent
    keys = [mapper.get_property_by_column(column).class_attribute for column in mapper.primary_key]
    among = keys[0].in_([state.key[1][0] for state in states if state.key])
    if len(keys) > 1:
        among = tuple_(*keys).in_([state.key[1] for state in states if state.key])
    options = states[0].load_options
    criteria = [option for option in options if not isinstance(option, Load) and not getattr(option, "is_policy", False)]
    again = select(mapper).where(among).options(selectinload(prop.class_attribute), policy, *criteria)
    if not any(state.expired for state in states):
        again = again.options(load_only(*keys))
    session.scalars(again, execution_options={"autoflush": autoflush}).unique().all()


def answer(execution: ORMExecuteState, ask: Ask) -> Result[Any] | None:
    """Answer the statement that SQLAlchemy is about to send for an attribute of one object.

    Args:
        execution: What is about to be sent.
        ask: Asks the policy of an object: state, kind, keys, autoflush, what to do without one.

    Returns:
        The rows it would have brought, where a policy has loaded them; None leaves it to SQLAlchemy.
    """
    autoflush = bool(execution.execution_options.get("autoflush", True))
    refreshed, keys = _internals.loaded_columns(execution)
    if refreshed is not None:
        filled = ask(refreshed, "column", keys, autoflush, lambda: _STOCK)
        return None if filled is _STOCK else _rows("row", [refreshed.obj()])
    state = execution.lazy_loaded_from
    path = execution.loader_strategy_path
    if state is None or path is None or not execution.is_relationship_load or _internals.is_eager(execution):
        return None
    prop: Any = path[-1]
    if ask(state, "relationship", {prop.key}, autoflush, lambda: _STOCK) is _STOCK or prop.key not in state.dict:
        return None
    value = state.dict[prop.key]
    if prop.uselist:
        return _rows(prop.key, list(collection_adapter(value)))
    return _rows(prop.key, [] if value is None else [value])


def _rows(name: str, values: list[Any]) -> Result[Any]:
    return IteratorResult(SimpleResultMetaData([name]), iter([(value,) for value in values]))
