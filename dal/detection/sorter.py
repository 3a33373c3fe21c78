"""Which group a statement belongs to: that of its shape, its place, and what the ORM says it is for.

A statement that comes the same way as one before goes to the same group at once; only the first is asked everything.
"""

from __future__ import annotations

import weakref
from typing import Any

from dal.detection import _internals, shapes
from dal.detection.eager import EagerLoads
from dal.detection.groups import COLUMN, EAGER, LAZY, READ, WRITE, Group, Reads, Writes
from dal.detection.runs import Runs
from dal.detection.statement import Statement
from dal.detection.table import GroupTable
from dal.detection.trail import Trail
from dal.detection.units import Units
from dal.detection.wide import WideRows

__all__ = ["Sorter"]

_MOST_KNOWN = 2_000
_ENOUGH_PARENTS = 100
_MOST_TABLES = 500
_QUICK = 0.02
"""Seconds between two equal questions up to which they count as asked at once, not as polling."""


class Sorter:
    """The groups of one scope and how statements find theirs.

    Args:
        eager: The eager loads of the scope.
        runs: The results of the scope.
        track_eager: Watch whether what is loaded eagerly is read.
        wide: The wide rows of the scope, where they are watched.

    Attributes:
        groups: What was seen, by shape and place.
        flushes: How many flushes have begun.
        last_end: When the last statement ended.
    """

    def __init__(self, eager: EagerLoads, runs: Runs, *, track_eager: bool, wide: WideRows | None) -> None:
        self.groups = GroupTable()
        self.flushes = 0
        self.last_end = 0.0
        self.units = Units()
        self._eager = eager
        self._runs = runs
        self._track_eager = track_eager
        self._wide = wide
        self._savepoints = self._polls = self._writes = 0
        self._written: dict[str, int] = {}
        self._known: dict[Trail | tuple[Trail, int], Group] = {}
        self._dropped = 0

    def group_of(self, statement: Statement) -> Group | None:
        """Return the group of a statement, told what is new; None for a statement that nothing is said about."""
        trail = statement.trail
        unit = self.units.number(statement) if trail.in_request else 0
        known = self._known.get((trail, unit) if unit else trail)
        if known is None or self.groups.dropped != self._dropped:
            return self._first(statement, unit)
        kind = known.kind
        if kind == READ:
            self._read_again(known, statement)
            return known
        if kind == WRITE:
            self._write_again(known, statement)
            return known
        return self._orm(statement, unit)

    def _first(self, statement: Statement, unit: int) -> Group | None:
        if self.groups.dropped != self._dropped:
            self._dropped = self.groups.dropped
            self._known.clear()
        group = self._sorted(statement, unit)
        if group is not None and statement.trail.steps:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[(statement.trail, unit) if unit else statement.trail] = group
        return group

    def _sorted(self, statement: Statement, unit: int) -> Group | None:
        kind = statement.shape.kind
        if kind == shapes.READ:
            if statement.trail.flushing:
                return None
            return self._orm(statement, unit)
        if kind == shapes.WRITE:
            return self._write(statement, unit)
        if kind == shapes.SAVEPOINT:
            self._savepoints += 1
        elif kind == shapes.POLL:
            self._polls += 1
        return None

    # Reads.

    def _orm(self, statement: Statement, unit: int) -> Group:
        asked = _internals.asked(statement.execution)
        if asked is None:
            return self._read(statement, unit)
        if asked.refreshed is not None:
            group = self._column(statement, unit, asked)
        elif asked.parent is not None:
            group = self._lazy(statement, unit, asked)
        elif len(asked.path) > 1:
            group = self.groups.find(EAGER, asked.path, statement, (EAGER, asked.path, statement.trail.key))
            # Who refreshes a relationship names it: it is wanted, whether or not it is read here.
            if self._track_eager and not asked.by_user:
                self._eager.separately(group, asked.path)
        else:
            group = self._read(statement, unit)
            if group.count == 0:
                self._entity(group, statement)
        self._result(group, statement)
        return group

    def _result(self, group: Group, statement: Statement) -> None:
        if self._runs.last is not group:
            self._runs.add(group)
        if self._eager.loaded:
            self._eager.expect_rows(group, statement.execution.cursor)

    def _entity(self, group: Group, statement: Statement) -> None:
        group.orm = True
        group.subject = _internals.entity_of(statement.execution)
        if self._track_eager:
            self._eager.joined(group, statement)
        if self._wide is not None and self._wide.expect(group):
            self._eager.count(group)

    def _lazy(self, statement: Statement, unit: int, asked: _internals.Asked) -> Group:
        relationship = asked.path[-1] if asked.path else statement.shape.text
        group = self.groups.find(LAZY, relationship, statement, (LAZY, relationship, statement.trail.key, unit))
        if group.count < _ENOUGH_PARENTS:
            self._for_parent(group, asked.parent)
        return group

    def _column(self, statement: Statement, unit: int, asked: _internals.Asked) -> Group:
        columns = _internals.only_columns(statement.execution)
        mapper = asked.refreshed.mapper if asked.refreshed is not None else None
        subject = (mapper, columns, asked.by_user)
        group = self.groups.find(COLUMN, subject, statement, (COLUMN, subject, statement.trail.key, unit))
        if group.count and group.last_writes != self._writes:
            # Something was written since the last one: a refresh after a write is what refresh is for.
            group.isolated += 1
        group.last_writes = self._writes
        if group.count < _ENOUGH_PARENTS:
            self._for_parent(group, asked.refreshed)
        return group

    def _for_parent(self, group: Group, state: Any) -> None:
        run = state.runid or 0
        if run:
            above = self._runs.group_of(run)
            if group.count == 0:
                group.loaded = above
            elif above is group:
                group.circular = True
        group.add_parent(state.key or id(state), run)

    def _read(self, statement: Statement, unit: int) -> Group:
        group = self.groups.find(READ, None, statement, (READ, statement.shape.text, statement.trail.key, unit))
        if group.reads is None:
            group.reads = Reads(statement.parameters, statement.sql)
            self._changed(group, statement)
        else:
            self._compare(group, group.reads, statement)
        return group

    def _read_again(self, group: Group, statement: Statement) -> None:
        reads = group.reads
        if reads is None or not reads.settled:
            if reads is not None:
                self._compare(group, reads, statement)
        else:
            parameters = statement.parameters
            if reads.last_size != reads.size or len(parameters or ()) != reads.size:
                reads.measure(parameters)
        if group.orm:
            self._result(group, statement)

    def _compare(self, group: Group, reads: Reads, statement: Statement) -> None:
        before = reads.tight
        if reads.add(statement.parameters, statement.sql):
            changed = self._changed(group, statement)
            reads.tight += not changed and statement.started - self.last_end < _QUICK
        if group.compiled is None:
            group.compiled, group.dialect = statement.execution.compiled, statement.execution.dialect
        if not reads.varied and (before == reads.tight or "LIMIT" in group.shape):
            self._polls += 1

    def _changed(self, group: Group, statement: Statement) -> bool:
        """Tell whether the answer may be another than before: in a new transaction, or after a write to its tables."""
        transaction = statement.execution.root_connection.get_transaction()
        known, last = group.transaction, group.last_writes
        group.last_writes = self._writes
        if known is None or known() is not transaction:
            group.transaction = weakref.ref(transaction) if transaction is not None else None
            return True
        return last != self._writes and any(at > last and table in group.shape for table, at in self._written.items())

    # Writes.

    def _write(self, statement: Statement, unit: int) -> Group:
        group = self.groups.find(WRITE, None, statement, (WRITE, statement.shape.text, statement.trail.key, unit))
        if group.writes is None:
            group.writes = Writes(statement.parameters, statement.sql)
            group.subject = shapes.written_table(group.shape)
            if len(self._written) >= _MOST_TABLES:
                self._written.clear()
            group.compiled, group.dialect = statement.execution.compiled, statement.execution.dialect
        self._write_again(group, statement)
        return group

    def _write_again(self, group: Group, statement: Statement) -> None:
        self._writes += 1
        self._written[group.subject] = self._writes
        execution = statement.execution
        assert group.writes is not None
        group.writes.add(
            statement.parameters,
            statement.sql,
            rows=2 if execution.executemany else getattr(execution.cursor, "rowcount", 1),
            flush=self.flushes if statement.trail.flushing else None,
            savepoints=self._savepoints,
            polls=self._polls,
        )
