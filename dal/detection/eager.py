"""What a scope's statements load eagerly, how many rows and objects that made, and whether anybody looked at it."""

from __future__ import annotations

import gc
import weakref
from collections import Counter, defaultdict
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Mapper, RelationshipProperty

from dal.detection import _internals, touches
from dal.detection.groups import Group
from dal.detection.runs import Runs
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

    Args:
        runs: The results of the scope.

    Attributes:
        expected: What was loaded eagerly, by relationship and group.
        used: Relationships that were read, and columns of the objects that have them.
        loaded: Objects made, by group and mapper.
        told: Rows that the driver says the statements of a group fetched.
        rows: Rows that the objects of a group needed, counted from what was joined.
        unsettled: Objects of a result are held to be counted.
        apart: Rows that the same objects need when each collection has a statement of its own.
    """

    def __init__(self, runs: Runs) -> None:
        self.expected: dict[tuple[Any, int], Expected] = {}
        self.used: set[Any] = set()
        self.loaded: dict[int, Counter[Any]] = {}
        self.told: dict[int, int] = defaultdict(int)
        self.rows: dict[int, int] = defaultdict(int)
        self.apart: dict[int, int] = defaultdict(int)
        self._samples: dict[int, list[weakref.ref[Any]]] = {}
        self._runs = runs
        self._run = 0
        self._group: Group | None = None
        self._counts: Counter[Any] | None = None
        self._joins = False
        self._samples_left = 0
        self._roots: list[Any] = []
        self._roots_group: Group | None = None
        self.unsettled = False
        self._trees: dict[int, _Tree] = {}
        self._joined: dict[str, tuple[tuple[Any, ...], ...]] = {}
        self._listening = False
        self._watched: dict[Any, tuple[Any, ...]] = {}

    def touched(self, prop: Any) -> None:
        """Take note that a relationship or a column was read."""
        self.used.add(prop)

    def separately(self, group: Group, path: tuple[Any, ...]) -> None:
        """Take note of an eager load by a statement of its own."""
        if group.count == 0 and isinstance(path[-1], RelationshipProperty):
            self._expect(path[-1], group, path, joined=False)

    def joined(self, group: Group, statement: Statement) -> None:
        """Take note of the relationships that a statement joins."""
        shape = statement.shape.text
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

    def expect_rows(self, group: Group, cursor: Any) -> None:
        """Listen to what the statement of a group is about to load, when that group loads something eagerly."""
        if not self._has(group):
            return
        rows = getattr(cursor, "rowcount", -1)
        if isinstance(rows, int) and rows > 0:
            self.told[id(group)] += rows
        if not self._listening:
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
        for generation in range(3):
            if all(sample() is None for sample in samples):
                return False
            # Parents and children refer to each other; only the collector can tell whether somebody else does, too. They are
            # young mostly, and to look through everything takes a tenth of a second.
            gc.collect(generation)
        return any(sample() is not None for sample in samples)

    def looked_at(self, expected: Expected) -> bool:
        """Tell whether anything of the objects was read by name, as applications do.

        Who turns `vars(user)` into JSON, as FastAPI does without a response model, reads everything and is not seen.
        """
        root = expected.path[0].mapper
        return any(column in self.used for column in self._watched.get(root, ())) or any(
            found.relationship in self.used and root.isa(found.relationship.parent) for found in self.expected.values()
        )

    def close(self) -> None:
        """Stop watching."""
        self.settle()
        if self._listening:
            self._listening = False
            event.remove(Mapper, "load", self._on_load)
            event.remove(Mapper, "pickle", self._on_pickle)
        for found in self.expected.values():
            touches.unwatch(found.relationship, self)
        for columns in self._watched.values():
            for column in columns:
                touches.unwatch(column, self)

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
        root = path[0].mapper
        if root not in self._watched:
            self._watched[root] = tuple(root.column_attrs)
            for column in self._watched[root]:
                touches.watch(column, self)

    def _on_load(self, state: Any, context: Any) -> None:
        # Runs for every object that is loaded while something eager is.
        if context.runid != self._run:
            self._begin(context.runid)
        counts = self._counts
        if counts is None:
            return
        counts[state.manager.mapper] += 1
        if self._joins and len(self._roots) < _MOST_ROOTS and self._is_root(state, self._group):
            self._roots_group, self.unsettled = self._group, True
            self._roots.append(state.obj())
        if self._samples_left:
            target = state.obj()
            if target is not None:
                self._samples_left -= 1
                self._samples[id(self._group)].append(weakref.ref(target))

    def _begin(self, run: int) -> None:
        """Look up, once for each result, what is to be noted of its objects."""
        group = self._runs.group_of(run)
        self._run, self._group = run, group
        self._counts = self.loaded.get(id(group))
        if self._counts is not None:
            self._joins = bool(self._trees.get(id(group)))
            self._samples_left = _MOST_SAMPLES - len(self._samples.setdefault(id(group), []))

    def _is_root(self, state: Any, group: Group | None) -> bool:
        subject = group.subject if group is not None else None
        return isinstance(subject, Mapper) and bool(state.mapper.isa(subject))

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
