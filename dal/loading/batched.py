"""Batched: the first touch of an attribute loads it for all objects of the same result.

A page that loops over 1,000 users and reads `user.orders` sends one statement for each 500 of them instead of 1,000.
Use it as the default of an application; use `eager()` where every object's attribute is needed anyway (it saves the
scan) and `strict()` where nothing may be loaded on the way. One object alone is loaded as SQLAlchemy would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import select, tuple_
from sqlalchemy.orm import InstanceState, LoaderCallableStatus, Mapper, RelationshipProperty
from sqlalchemy.orm.attributes import instance_dict

from dal.loading import _internals
from dal.loading.fallback import load_with_parents
from dal.loading.peers import peers
from dal.loading.policy import Policy
from dal.loading.touch import Touch
from dal.loading.watch import policy_of

__all__ = ["Batched"]

_T = TypeVar("_T")
_Found = list[tuple[InstanceState[Any], Any]]
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Batched:
    """Load for all peers at once.

    Args:
        limit: Objects filled by one touch at most.
        rows: Rows after which one touch stops loading a collection for further objects; those are filled when touched.
        ramp: Objects filled by the first, second ... touch of an attribute; the last number holds from then on.
    """

    limit: int = 10_000
    rows: int = 100_000
    ramp: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The word for it in errors and configuration files."""
        return "batched"

    def load(self, touch: Touch) -> Any:
        """Fill the attribute for the touched object and its peers."""
        if touch.kind == "relationship":
            return self._relationship(touch)
        return self._deferred(touch) if touch.kind == "column" else self._expired(touch)

    def _size(self, touch: Touch) -> int:
        if not self.ramp or touch.batch is None:
            return self.limit
        times = touch.batch.touches.get(touch.keys, 0)
        touch.batch.touches[touch.keys] = times + 1
        return min(self.limit, self.ramp[min(times, len(self.ramp) - 1)])

    def _relationship(self, touch: Touch) -> Any:
        key = touch.key
        prop: RelationshipProperty[Any] = touch.mapper.relationships[key]
        moved = _local_keys(prop)
        has: dict[type[Any], bool] = {}

        def misses(state: InstanceState[Any], loaded: dict[str, Any]) -> bool:
            if key in loaded or (key in state.committed_state and not _internals.has_pending(state, key)):
                return False
            if state.class_ not in has:
                has[state.class_] = state.mapper.relationships.get(key) is prop
            return has[state.class_] and (moved.isdisjoint(state.committed_state) or not _moves(state, moved))

        if not misses(touch.state, touch.state.dict):
            return touch.stock()
        found = peers(touch, misses, self._size(touch))
        _internals.shorten_paths(state for state, _ in found)
        if len(found) < 2:
            return touch.stock()
        self._fill(prop, found, autoflush=touch.autoflush)
        return LoaderCallableStatus.ATTR_WAS_SET if key in touch.state.dict else touch.stock()

    def _fill(self, prop: RelationshipProperty[Any], found: _Found, *, autoflush: bool) -> None:
        if not prop.uselist:
            _load(prop, [state for state, _ in found], autoflush=autoflush)
            return
        loaded = 0
        for chunk in _chunks(found):
            _load(prop, [state for state, _ in chunk], autoflush=autoflush)
            loaded += sum(len(instance_dict(held).get(prop.key) or ()) for _, held in chunk)
            if loaded >= self.rows:
                break

    def _deferred(self, touch: Touch) -> Any:
        mapper, keys = touch.mapper, touch.keys

        def misses(state: InstanceState[Any], loaded: dict[str, Any]) -> bool:
            return state.class_ is mapper.class_ and keys.isdisjoint(loaded) and keys.isdisjoint(state.committed_state)

        found = peers(touch, misses, self._size(touch)) if misses(touch.state, touch.state.dict) else []
        if len(found) < 2:
            return touch.stock()
        ordered = sorted(keys)
        key_columns = _key_attributes(mapper)
        columns = [*key_columns, *(mapper.attrs[key].class_attribute for key in ordered)]
        options = {"autoflush": touch.autoflush}
        for chunk in _chunks(found):
            by_key = {state.key[1]: state for state, _ in chunk if state.key}
            for row in touch.session.execute(select(*columns).where(_in(key_columns, list(by_key))), execution_options=options):
                filled = by_key.get(tuple(row[: len(key_columns)]))
                for key, value in zip(ordered, row[len(key_columns) :], strict=True):
                    if filled is not None and key not in filled.dict and key not in filled.committed_state:
                        _internals.set_loaded(filled, key, value)
        return LoaderCallableStatus.ATTR_WAS_SET if keys <= touch.state.dict.keys() else touch.stock()

    def _expired(self, touch: Touch) -> Any:
        mapper, keys = touch.mapper, touch.keys

        def misses(state: InstanceState[Any], _: dict[str, Any]) -> bool:
            return state.class_ is mapper.class_ and keys <= state.expired_attributes and not state.modified

        found = peers(touch, misses, self._size(touch)) if misses(touch.state, touch.state.dict) else []
        if len(found) < 2:
            return touch.stock()
        key_columns = _key_attributes(mapper)
        refreshed: set[int] = set()
        for chunk in _chunks(found):
            again = select(mapper).where(_in(key_columns, [state.key[1] for state, _ in chunk if state.key]))
            rows = touch.session.scalars(
                again.options(_for_refresh(touch.state)), execution_options={"autoflush": touch.autoflush}
            )
            refreshed.update(id(instance) for instance in rows.unique())
        for state, held in found:
            if id(held) in refreshed:
                state.expired_attributes.clear()
        return LoaderCallableStatus.ATTR_WAS_SET if id(found[0][1]) in refreshed else touch.stock()


def _load(prop: RelationshipProperty[Any], states: list[InstanceState[Any]], *, autoflush: bool) -> None:
    if "_SelectInLoader._load_for_path" not in _internals.missing():
        _internals.selectin_load(prop, states, autoflush=autoflush)
        return
    policy = policy_of(states[0])
    assert policy is not None
    onwards = Policy((), policy.mode, policy.batch, sealed=True)
    for chunk in _chunks(states):
        load_with_parents(prop, chunk, onwards, autoflush=autoflush)


def _for_refresh(state: InstanceState[Any]) -> Policy:
    """Return the policy to refresh an object with: its paths start at the object only where the query did."""
    policy = policy_of(state)
    assert policy is not None
    paths = policy.paths if len(state.load_path) == 1 else ()
    return Policy(paths, policy.mode, policy.batch, sealed=True).optional()


def _chunks(found: list[_T]) -> Iterator[list[_T]]:
    for start in range(0, len(found), _CHUNK):
        yield found[start : start + _CHUNK]


def _local_keys(prop: RelationshipProperty[Any]) -> frozenset[str]:
    """Return the attributes whose pending change moves the relationship while the database still has the old value."""
    if _internals.by_primary_key(prop):
        return frozenset()
    return frozenset(attr.key for attr in prop.parent.column_attrs if not prop.local_columns.isdisjoint(attr.columns))


def _moves(state: InstanceState[Any], keys: frozenset[str]) -> bool:
    """Tell whether one of the attributes differs from what the database holds: merge() sets them to what they are."""
    return any(state.dict.get(key) != state.committed_state[key] for key in keys & state.committed_state.keys())


def _key_attributes(mapper: Mapper[Any]) -> list[Any]:
    return [mapper.get_property_by_column(column).class_attribute for column in mapper.primary_key]


def _in(key_columns: Sequence[Any], keys: Sequence[tuple[Any, ...]]) -> Any:
    if len(key_columns) == 1:
        return key_columns[0].in_([key[0] for key in keys])
    return tuple_(*key_columns).in_(keys)
