"""Kinds of rows, by their Python type: how each says which attributes it carries, and gives their values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, itemgetter
from types import NoneType
from typing import Any

from sqlalchemy.orm.base import instance_dict, instance_state

from dal.bulk.groups import Group
from dal.bulk.target import Target
from dal.errors import UsageError

__all__ = ["Entities", "Kind", "Mappings", "Objects", "Tuples", "field_names", "known_name"]


_STATE = {"_sa_instance_state"}
_key_of, _session_of = attrgetter("key"), attrgetter("session_id")


def known_name(target: Target, computed: frozenset[str], given: object, position: int) -> str:
    """Return the attribute that a row means by a name."""
    name = given if given in target.columns else None
    if name is None and isinstance(given, str):
        found = [key for key, column in target.columns.items() if column.name == given]
        name = found[0] if len(found) == 1 else None
    if not isinstance(name, str):
        raise UsageError(
            f"row {position} has a column {given!r}, which {target.name} has not",
            hint=f"columns of {target.name}: {', '.join(target.columns)}",
        )
    if name in computed:
        raise UsageError(
            f"row {position} has a value for {target.name}.{name}, which the database computes", hint=f"leave {name} out"
        )
    return name


def field_names(row: Any, cls: type) -> tuple[str, ...] | None:
    """Return the fields of a dataclass, msgspec struct, pydantic model or attrs class; None of anything else."""
    if dataclasses.is_dataclass(row):
        return tuple(field.name for field in dataclasses.fields(row))
    struct: Any = getattr(cls, "__struct_fields__", None)
    if isinstance(struct, tuple):
        return struct
    model: Any = getattr(cls, "model_fields", None)
    if isinstance(model, dict):
        return tuple(model)
    attrs: Any = getattr(cls, "__attrs_attrs__", None)
    return None if attrs is None else tuple(each.name for each in attrs)


class Kind:
    """Rows of one Python type."""

    def groups(self, rows: list[Any], positions: Sequence[int]) -> list[Group]:
        """Sort rows by shape."""
        raise NotImplementedError


class Tuples(Kind):
    """Tuples, lists and rows of a query: their places mean attributes."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def groups(self, rows: list[Any], positions: Sequence[int]) -> list[Group]:
        """Sort rows by shape."""
        width = len(self._names)
        if set(map(len, rows)) != {width}:
            at = next(index for index, row in enumerate(rows) if len(row) != width)
            raise UsageError(
                f"row {positions[at]} has {len(rows[at])} values for {width} columns",
                hint=f"give one value for each of {', '.join(self._names)}",
            )
        return [Group(self._names, positions, rows, rows)]


class _Keyed(Kind):
    """Rows that are, or have, a dict."""

    def __init__(self, target: Target, computed: frozenset[str]) -> None:
        self._target = target
        self._computed = computed
        self._shapes: dict[Any, tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]] = {}

    def by_keys(self, rows: list[Any], dicts: list[Any], positions: Sequence[int]) -> list[Group]:
        """Sort rows by the keys of their dicts."""
        keys = tuple(dicts[0])
        if set(map(len, dicts)) == {len(keys)} and self.takes_all(dicts[0], self._shape(keys, positions[0])[0]):
            try:
                return [self._group(keys, rows, dicts, positions)]
            except KeyError:
                # As many keys, and others.
                pass
        shapes: dict[frozenset[Any], list[int]] = {}
        for index, each in enumerate(dicts):
            shapes.setdefault(frozenset(each), []).append(index)
        return [
            self._group(tuple(dicts[at[0]]), [rows[i] for i in at], [dicts[i] for i in at], [positions[i] for i in at])
            for at in shapes.values()
        ]

    def _group(self, keys: tuple[Any, ...], rows: list[Any], dicts: list[Any], positions: Sequence[int]) -> Group:
        names, take = self._shape(keys, positions[0])
        return Group(names, positions, rows, list(map(take, dicts)))

    def _shape(self, keys: tuple[Any, ...], position: int) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
        if keys not in self._shapes:
            self._shapes[keys] = self.shape(keys, position)
        return self._shapes[keys]

    def takes_all(self, values: Any, names: tuple[str, ...]) -> bool:
        """Tell whether taking values fails with a KeyError for a dict of as many keys that are not the same."""
        raise NotImplementedError

    def shape(self, keys: tuple[Any, ...], position: int) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
        """Return the attributes that keys mean, and what takes their values."""
        names = tuple(known_name(self._target, self._computed, key, position) for key in keys)
        return names, _taker(itemgetter, keys)


class Mappings(_Keyed):
    """Dicts."""

    def groups(self, rows: list[Any], positions: Sequence[int]) -> list[Group]:
        """Sort rows by shape."""
        return self.by_keys(rows, rows, positions)

    def takes_all(self, values: Any, names: tuple[str, ...]) -> bool:
        """Tell whether taking values fails with a KeyError for a dict of as many keys that are not the same."""
        # Another mapping may make up what it has not.
        return type(values) is dict


class Entities(_Keyed):
    """ORM objects: what is set on them, as a flush would see it."""

    def __init__(self, target: Target, computed: frozenset[str], *, fresh: bool) -> None:
        super().__init__(target, computed)
        self._fresh = fresh
        # None in one of these means "not given", as it does in a flush.
        self._given_by_default = [
            name
            for name, column in target.columns.items()
            if column.primary_key or column.default is not None or column.server_default is not None
        ]

    def groups(self, rows: list[Any], positions: Sequence[int]) -> list[Group]:
        """Sort rows by shape."""
        if self._fresh:
            self._refuse_known(rows, positions)
        dicts = list(map(instance_dict, rows))
        found = self.by_keys(rows, dicts, positions)
        if not any(self._has_none(group, name) for group in found for name in self._given_by_default):
            return found
        for name in self._given_by_default:
            if any(each.get(name, self) is None for each in dicts):
                dicts = [_without(each, name) if each.get(name, self) is None else each for each in dicts]
        return self.by_keys(rows, dicts, positions)

    def shape(self, keys: tuple[Any, ...], position: int) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
        """Return the attributes that keys mean, and what takes their values."""
        names = tuple(key for key in keys if key in self._target.columns and key not in self._computed)
        return names, _taker(itemgetter, names)

    def takes_all(self, values: Any, names: tuple[str, ...]) -> bool:
        """Tell whether taking values fails with a KeyError for a dict of as many keys that are not the same."""
        return bool(values.keys() - names == _STATE)

    def _has_none(self, group: Group, name: str) -> bool:
        if name not in group.names:
            return False
        return NoneType in map(type, map(itemgetter(group.names.index(name)), group.values))

    def _refuse_known(self, rows: list[Any], positions: Sequence[int]) -> None:
        states = list(map(instance_state, rows))
        if not any(map(_key_of, states)) and not any(map(_session_of, states)):
            return
        for index, state in enumerate(states):
            if state.key is not None or state.session_id is not None:
                raise UsageError(
                    f"row {positions[index]} is an object that a session has loaded or will write itself",
                    hint="insert new objects that were not added to a session, or use update()",
                )


class Objects(Kind):
    """Dataclasses, msgspec structs, pydantic models, attrs classes."""

    def __init__(self, target: Target, computed: frozenset[str], fields: tuple[str, ...]) -> None:
        self._target = target
        self._computed = computed
        self._fields = fields
        self._names: tuple[str, ...] | None = None

    def groups(self, rows: list[Any], positions: Sequence[int]) -> list[Group]:
        """Sort rows by shape."""
        if self._names is None:
            self._names = tuple(known_name(self._target, self._computed, name, positions[0]) for name in self._fields)
        return [Group(self._names, positions, rows, list(map(_taker(attrgetter, self._fields), rows)))]


def _taker(getter: Any, names: tuple[Any, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that takes some values, always as a tuple."""
    if not names:
        return lambda row: ()
    take = getter(*names)
    return take if len(names) > 1 else lambda row: (take(row),)


def _without(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}
