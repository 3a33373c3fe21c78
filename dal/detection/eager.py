"""What a scope's statements load eagerly, how many rows and objects that made, and whether anybody looked at it."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.orm import Mapper, RelationshipProperty

from dal.detection import _internals, touches
from dal.detection.groups import Group

if TYPE_CHECKING:
    from dal.detection.scope import Scope
    from dal.detection.statement import Statement

__all__ = ["EagerLoads", "Expected"]

_MOST_SAMPLES = 8
_MOST_ROOTS = 500
_Tree = dict[Any, Any]


class Expected:
    """One relationship that one shape of statement loads eagerly."""

    __slots__ = ("group", "joined", "path", "relationship")

    def __init__(self, relationship: RelationshipProperty[Any], group: Group, path: tuple[Any, ...], *, joined: bool) -> None:
        self.relationship = relationship
        self.group = group
        self.path = path
        self.joined = joined


class EagerLoads:
    """The eager loads of one scope.

    Attributes:
        expected: What was loaded eagerly, by relationship and group.
        used: Relationships that were read.
        loaded: Objects made, by group and mapper.
        told: Rows that the driver says the statements of a group fetched.
        rows: Rows that the objects of a group needed, counted from what was joined.
        unsettled: Objects of a result are held to be counted.
        apart: Rows that the same objects need when each collection has a statement of its own.
    """

    def __init__(self) -> None:
        self.expected: dict[tuple[Any, int], Expected] = {}
        self.used: set[Any] = set()
        self.loaded: dict[int, Counter[Any]] = {}
        self.told: Counter[int] = Counter()
        self.rows: Counter[int] = Counter()
        self.apart: Counter[int] = Counter()
        self._samples: dict[int, list[weakref.ref[Any]]] = {}
        self._scope: weakref.ref[Scope] | None = None
        self._last_run = 0
        self._last_group: Group | None = None
        self._roots: list[Any] = []
        self._roots_group: Group | None = None
        self.unsettled = False
        self._trees: dict[int, _Tree] = {}
        self._joined: dict[str, tuple[tuple[Any, ...], ...]] = {}
        self._listening = False

    def touched(self, prop: Any) -> None:
        """Take note that a relationship was read."""
        self.used.add(prop)

    def separately(self, group: Group, path: tuple[Any, ...]) -> None:
        """Take note of an eager load by a statement of its own."""
        if group.count == 0 and isinstance(path[-1], RelationshipProperty):
            self._expect(path[-1], group, path, joined=False)

    def joined(self, group: Group, statement: Statement, shape: str) -> None:
        """Take note of the relationships that a statement joins."""
        paths = self._joined.get(shape)
        if paths is None:
            paths = self._joined[shape] = _internals.joined_paths(statement.execution) if len(self._joined) < 2_000 else ()
        for path in paths:
            relationship = path[-1]
            if isinstance(relationship, RelationshipProperty):
                self._expect(relationship, group, path, joined=True)

    def count(self, group: Group) -> None:
        """Count the objects that a group loads, though nothing of it is eager."""
        self.loaded.setdefault(id(group), Counter())

    def expect_rows(self, scope: Scope, group: Group, cursor: Any) -> None:
        """Listen to what the statement of a group is about to load, when that group loads something eagerly."""
        if not self._has(group):
            return
        rows = getattr(cursor, "rowcount", -1)
        if isinstance(rows, int) and rows > 0:
            self.told[id(group)] += rows
        if not self._listening:
            self._scope = weakref.ref(scope)
            self._listening = True
            event.listen(Mapper, "load", self._on_load, raw=True)
            event.listen(Mapper, "pickle", self._on_pickle, raw=True)

    def paths_of(self, group: Group) -> list[tuple[Any, ...]]:
        """Return the joined paths of a group."""
        return [found.path for found in self.expected.values() if found.group is group and found.joined]

    def settle(self) -> None:
        """Count the rows behind the objects of the last result that joined several collections, and let go of them."""
        group, roots = self._roots_group, self._roots
        if group is None:
            return
        self._roots, self._roots_group, self.unsettled = [], None, False
        tree = self._trees[id(group)]
        seen: set[int] = set()
        for root in roots:
            together, apart = _rows(root, tree, seen)
            self.rows[id(group)] += together
            self.apart[id(group)] += apart

    def escaped(self, group: Group) -> bool:
        """Tell whether objects of a group are still in use, so that nobody can say yet what of them is read."""
        samples = self._samples.get(id(group), [])
        if any(sample() is not None for sample in samples):
            # Parents and children refer to each other; only the collector can tell whether somebody else does, too.
            gc.collect()
        return any(sample() is not None for sample in samples)

    def close(self) -> None:
        """Stop watching."""
        self.settle()
        if self._listening:
            self._listening = False
            event.remove(Mapper, "load", self._on_load)
            event.remove(Mapper, "pickle", self._on_pickle)
        for found in self.expected.values():
            touches.unwatch(found.relationship, self)

    def _has(self, group: Group) -> bool:
        return id(group) in self.loaded

    def _expect(self, relationship: RelationshipProperty[Any], group: Group, path: tuple[Any, ...], *, joined: bool) -> None:
        key = (relationship, id(group))
        if key in self.expected or len(self.expected) > 500:
            return
        self.expected[key] = Expected(relationship, group, path, joined=joined)
        self.loaded.setdefault(id(group), Counter())
        if joined:
            self._trees[id(group)] = _tree(self.paths_of(group))
        if relationship not in self.used:
            touches.watch(relationship, self)

    def _on_load(self, state: Any, context: Any) -> None:
        run = context.runid
        if run != self._last_run:
            self._last_run = run
            scope = self._scope() if self._scope is not None else None
            self._last_group = scope.group_of_run(run) if scope is not None else None
        group = self._last_group
        if group is None:
            return
        counts = self.loaded.get(id(group))
        if counts is None:
            return
        counts[state.mapper] += 1
        if len(self._trees.get(id(group), ())) and self._is_root(state, group) and len(self._roots) < _MOST_ROOTS:
            self._roots_group, self.unsettled = group, True
            self._roots.append(state.obj())
        samples = self._samples.setdefault(id(group), [])
        if len(samples) < _MOST_SAMPLES:
            target = state.obj()
            if target is not None:
                samples.append(weakref.ref(target))

    def _is_root(self, state: Any, group: Group) -> bool:
        return bool(state.mapper.isa(group.subject)) if isinstance(group.subject, Mapper) else False

    def _on_pickle(self, state: Any, _: Any) -> None:
        self.used.update(state.mapper.relationships)


def _tree(paths: list[tuple[Any, ...]]) -> _Tree:
    """Nest joined paths: the relationships of the root, each with those below it."""
    tree: _Tree = {}
    for path in sorted(paths, key=len):
        at = tree
        for step in path:
            if isinstance(step, RelationshipProperty):
                at = at.setdefault(step, {})
    return tree


def _rows(target: Any, tree: _Tree, seen: set[int]) -> tuple[int, int]:
    """Return how many rows an object makes in one joined statement, and in one statement for each relationship.

    Separate statements fetch an object once however many others refer to it; `seen` says which were counted.
    """
    together, apart = 1, 1
    for relationship, below in tree.items():
        value = target.__dict__.get(relationship.key)
        if value is None:
            continue
        joined = 0
        for child in value if relationship.uselist else (value,):
            rows, separate = _rows(child, below, seen)
            joined += rows
            if id(child) not in seen:
                seen.add(id(child))
                apart += separate
            elif relationship.uselist:
                apart += 1
        together *= max(1, joined)
    return together, apart
