"""Stand in front of SQLAlchemy's own loaders and let the policy of the object answer.

`watch(mapper)` is called when the first statement with a policy meets a mapper; until then nothing is installed, and
an object without a policy goes straight to SQLAlchemy. SQLAlchemy's own bookkeeping (flush, history, cascades) and what
the statement's own options name never reach a policy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.orm import InstanceState, LoaderCallableStatus, Mapper, RelationshipProperty, Session, registry

from dal.loading import _internals
from dal.loading._internals import PassiveFlag, Touched
from dal.loading.fallback import answer
from dal.loading.modes import Lazy, Mode
from dal.loading.tasks import one_at_a_time
from dal.loading.touch import Kind, Touch

if TYPE_CHECKING:
    from dal.loading.policy import Policy

__all__ = ["policy_of", "watch"]

_LAZY = Lazy()
_watched: WeakSet[Mapper[Any]] = WeakSet()
_registries: WeakSet[registry] = WeakSet()
_watching = RLock()


def watch(mapper: Mapper[Any]) -> None:
    """Watch a mapper and all that can be reached from its registry, also what is mapped later."""
    if mapper in _watched:
        return
    _listen()
    _registries.add(mapper.registry)
    _watch_known()


def policy_of(state: InstanceState[Any]) -> Policy | None:
    """Return the policy that answers for an object, or None where it was loaded without one."""
    nearest: Policy | None = None
    for option in reversed(state.load_options):
        if getattr(option, "is_policy", False):
            policy: Policy = option  # type: ignore[assignment]
            if policy.mode is not None or policy.sealed:
                return policy
            nearest = nearest or policy
    return nearest


@cache
def _listen() -> None:
    event.listen(Mapper, "after_configured", _watch_known)
    if "AttributeImpl.callable_" in _internals.missing():
        event.listen(Session, "do_orm_execute", lambda execution: answer(execution, _ask))


def _watch_known() -> None:
    with _watching:
        waiting, reached = list(_registries), set(_registries)
        while waiting:
            for mapper in waiting.pop().mappers:
                if mapper.configured:
                    _watched.add(mapper)
                    _watch(mapper)
                    beyond = {prop.mapper.registry for prop in mapper.relationships} - reached
                    waiting += beyond
                    reached |= beyond
        _registries.update(reached)


def _watch(mapper: Mapper[Any]) -> None:
    """Watch what is not watched yet: a class that is mapped later adds a backref to one that was."""
    for prop in mapper.relationships:
        if prop.lazy not in {"dynamic", "write_only", "noload", None}:
            _internals.swap_touch(mapper, prop.key, _relationship(prop))
    for column in mapper.column_attrs:
        if not column.raiseload:
            _internals.swap_touch(mapper, column.key, _column(column.key))
        _internals.swap_deferred(mapper, column.key, _column(column.key))
    _internals.swap_expired(mapper, _expired)


def _relationship(prop: RelationshipProperty[Any]) -> Callable[[Touched], Touched]:
    def make(stock: Touched) -> Touched:
        def touched(state: InstanceState[Any], passive: PassiveFlag = PassiveFlag.PASSIVE_OFF) -> Any:
            policy = policy_of(state) if state.load_options else None
            if policy is None or _bookkeeping(state, passive):
                return stock(state, passive)
            mode = _LAZY if policy.mode is None or _internals.named_lazy(state, prop) else policy.mode
            forbidden = policy.mode is not None and prop.lazy in {"raise", "raise_on_sql"}
            load = (_internals.select_touch(prop) if forbidden else None) or stock
            if _internals.by_primary_key(prop):
                found = load(state, _internals.without_sql(passive))
                if found is not LoaderCallableStatus.PASSIVE_NO_RESULT:
                    return found
            return _answer(mode, policy, state, "relationship", {prop.key}, passive, lambda: load(state, passive))

        return touched

    return make


def _column(key: str) -> Callable[[Touched], Touched]:
    def make(stock: Touched) -> Touched:
        def touched(state: InstanceState[Any], passive: PassiveFlag = PassiveFlag.PASSIVE_OFF) -> Any:
            policy = policy_of(state) if state.load_options else None
            if policy is None or _bookkeeping(state, passive):
                return stock(state, passive)
            group = _internals.deferred_group(state.mapper, key)
            keys = {name for name in group if name in state.unmodified and name not in state.dict}
            return _answer(policy.mode or _LAZY, policy, state, "column", keys or {key}, passive, lambda: stock(state, passive))

        return touched

    return make


def _expired(stock: Callable[..., Any]) -> Callable[..., Any]:
    def touched(state: InstanceState[Any], toload: set[str], passive: PassiveFlag) -> Any:
        policy = policy_of(state) if state.load_options else None
        if policy is None or not toload or _bookkeeping(state, passive):
            return stock(state, toload, passive)
        load = lambda: stock(state, toload, passive)  # noqa: E731
        return _answer(policy.mode or _LAZY, policy, state, "expired", toload, passive, load)

    return touched


def _bookkeeping(state: InstanceState[Any], passive: PassiveFlag) -> bool:
    """Tell whether SQLAlchemy reads for itself, or the object is one that no session can load for."""
    quiet = PassiveFlag.LOAD_AGAINST_COMMITTED | PassiveFlag.DEFERRED_HISTORY_LOAD | PassiveFlag.NO_RAISE
    return bool(
        not passive & PassiveFlag.SQL_OK
        or not passive & PassiveFlag.CALLABLES_OK
        or passive & quiet
        or not state.key
        or state.session is None
        or _internals.flushing(state.session)
    )


def _ask(state: InstanceState[Any], kind: Kind, keys: set[str], autoflush: bool, stock: Callable[[], Any]) -> Any:
    passive = PassiveFlag.PASSIVE_OFF if autoflush else PassiveFlag.PASSIVE_OFF | PassiveFlag.NO_AUTOFLUSH
    policy = policy_of(state)
    lazy = kind == "relationship" and _internals.named_lazy(state, state.mapper.relationships[min(keys)])
    if policy is None or policy.mode is None or lazy or _bookkeeping(state, passive):
        return stock()
    return _answer(policy.mode, policy, state, kind, keys, passive, stock)


def _answer(
    mode: Mode,
    policy: Policy,
    state: InstanceState[Any],
    kind: Kind,
    keys: set[str],
    passive: PassiveFlag,
    stock: Callable[[], Any],
) -> Any:
    session = state.session
    assert session is not None
    autoflush = not passive & PassiveFlag.NO_AUTOFLUSH
    touch = Touch(state, session, policy.batch, kind, frozenset(keys), autoflush, stock)
    with one_at_a_time(touch):
        return mode.load(touch)
