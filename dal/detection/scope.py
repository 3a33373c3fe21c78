"""One observed stretch of work: a test, a request, a `with detect()` block.

It counts what listeners tell it, in groups, and never keeps a statement, a value or an object of the application. Its size is
bounded however long it lasts.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from contextvars import ContextVar
from types import FrameType
from typing import Any

from dal.detection import _internals, shapes
from dal.detection.callsite import Walk
from dal.detection.eager import EagerLoads
from dal.detection.fingerprint import Fingerprints
from dal.detection.groups import COLUMN, EAGER, LAZY, READ, WRITE, Group, Reads, Writes
from dal.detection.statement import Statement
from dal.detection.wide import WideRows

__all__ = ["Scope", "ignored"]

_MOST_GROUPS = 2_000
_MOST_RUNS = 20_000
_MOST_REQUESTS = 8
_ENOUGH_PARENTS = 100
_QUICK = 0.02
"""Seconds between two equal questions up to which they count as asked at once, not as polling."""

ignored: ContextVar[bool] = ContextVar("dal_detection_ignored", default=False)
"""Statements sent while this is true are counted, and nothing is said about them."""

_worker_unit: ContextVar[int] = ContextVar("dal_detection_worker_unit", default=0)
_units = itertools.count(1)
_fingerprint = Fingerprints()
_known_shapes = _fingerprint.known
_shape_kinds: dict[str, str] = {}


def _kind_of(shape: str) -> str:
    if len(_shape_kinds) > _MOST_GROUPS:
        _shape_kinds.clear()
    kind = _shape_kinds[shape] = shapes.shape_kind(shape)
    return kind


class Scope:
    """What was seen in one stretch of work.

    Args:
        threshold: From how many objects on a load for each of them is told.
        follow_threads: Take statements of threads that no scope of their own watches, while this is the only one open.
        timeline: Keep the first `timeline` statements in order, for the page to look at.
        track_eager: Watch whether what is loaded eagerly is read.
        wide: Watch which columns of wide rows are read.

    Attributes:
        statements: Statements that reached the database.
        seconds: Time they took.
        end: The id of the frame that opened the scope and stays on the stack while it is open: no walk goes beyond it.
        groups: What was seen, by shape and place.
    """

    def __init__(
        self,
        *,
        threshold: int = 2,
        follow_threads: bool = True,
        timeline: int = 0,
        track_eager: bool = True,
        wide: bool = False,
    ) -> None:
        self.threshold = threshold
        self.follow_threads = follow_threads
        self.statements = 0
        self.end = 0
        self.seconds = 0.0
        self.slowest: tuple[float, str] = (0.0, "")
        self.groups: dict[tuple[Any, ...], Group] = {}
        self.eager = EagerLoads()
        self.wide = WideRows() if wide else None
        self.timeline: list[tuple[float, float, str, Group | None]] = []
        self.dropped = 0
        self.failed = 0
        self.closed = False
        self.started: float | None = None
        self._most_timeline = timeline
        self._track_eager = track_eager
        self._reads: dict[tuple[str, tuple[int, ...]], Group] = {}
        self._runs: list[int] = []
        self._run_groups: list[Group] = []
        self._requests: dict[int, tuple[FrameType, int]] = {}
        self._transactions = self._savepoints = self._flushes = self._polls = self._writes = 0
        self._last_end = 0.0

    # What listeners tell.

    def transaction_ended(self) -> None:
        """Note a commit or a rollback."""
        self._transactions += 1

    def flush_began(self) -> None:
        """Note the start of a flush."""
        self._flushes += 1

    def add(self, statement: Statement) -> None:
        """Count one execution."""
        eager = self.eager
        if eager.unsettled:
            eager.settle()
        seconds = statement.ended - statement.started
        self.statements += 1
        self.seconds += seconds
        shape = _known_shapes.get(statement.sql) or _fingerprint(statement.sql)
        if seconds > self.slowest[0]:
            self.slowest = (seconds, shape)
        group: Group | None = None
        if not ignored.get():
            walk = statement.walk
            group = self._reads.get((shape, walk.key)) if walk is not None else None
            if group is None or walk is None or walk.flushing or walk.worker or walk.request is not None:
                group = self._grouped(statement, shape)
            else:
                self._again(group, statement)
        if group is not None:
            group.count += 1
            group.seconds += seconds
        if self._most_timeline:
            self._tick(statement, shape, group)
        self._last_end = statement.ended

    def _again(self, group: Group, statement: Statement) -> None:
        """Count a SELECT that is known here: the short way, for the long loops."""
        reads = group.reads
        if reads is None or not reads.settled:
            self._compare(group, statement)
        elif len(statement.parameters or ()) != reads.size or reads.last_size != reads.size:
            reads.measure(statement.parameters)
        if group.orm:
            if self._run_groups[-1] is not group:
                self._remember_run(group)
            if self.eager.loaded:
                self.eager.expect_rows(self, group, statement.cursor)

    def _tick(self, statement: Statement, shape: str, group: Group | None) -> None:
        if self.started is None:
            self.started = statement.started
        if len(self.timeline) < self._most_timeline:
            self.timeline.append((statement.started - self.started, statement.ended - statement.started, shape, group))

    def group_of_run(self, run: int) -> Group | None:
        """Return the group that loaded the objects of a result, by the number the result carries."""
        at = bisect_right(self._runs, run) - 1
        return self._run_groups[at] if at >= 0 else None

    def close(self) -> None:
        """Let go of everything that belongs to the application."""
        self.closed = True
        self._requests.clear()
        self.eager.close()
        if self.wide is not None:
            self.wide.close()

    # Sorting.

    def _grouped(self, statement: Statement, shape: str) -> Group | None:
        kind = _shape_kinds.get(shape) or _kind_of(shape)
        walk = statement.walk
        if kind == shapes.READ:
            asked = _internals.asked(statement.execution)
            if asked is not None:
                return self._orm(statement, shape, walk, asked) if walk is not None and not walk.flushing else None
            return self._read(statement, shape, walk) if walk is not None and not walk.flushing else None
        if kind == shapes.SAVEPOINT:
            self._savepoints += 1
            return None
        if kind == shapes.NOISE or walk is None:
            return None
        if kind == shapes.WRITE:
            return self._write(statement, shape, walk)
        self._polls += 1
        return None

    def _orm(self, statement: Statement, shape: str, walk: Walk, asked: _internals.Asked) -> Group:
        if asked.refreshed is not None:
            group = self._column(statement, shape, walk, asked)
        elif asked.parent is not None:
            group = self._lazy(statement, shape, walk, asked)
        elif len(asked.path) > 1:
            group = self._group(EAGER, asked.path, statement, shape, walk, (EAGER, asked.path, walk.key))
            if self._track_eager:
                self.eager.separately(group, asked.path)
        else:
            group = self._read(statement, shape, walk)
            if group.count == 0:
                group.orm = True
                group.subject = _internals.entity_of(statement.execution)
                if self._track_eager:
                    self.eager.joined(group, statement, shape)
                if self.wide is not None and self.wide.expect(group):
                    self.eager.count(group)
        if not self._run_groups or self._run_groups[-1] is not group:
            self._remember_run(group)
        if self.eager.loaded:
            self.eager.expect_rows(self, group, statement.cursor)
        return group

    def _remember_run(self, group: Group) -> None:
        if len(self._runs) > _MOST_RUNS:
            del self._runs[: _MOST_RUNS // 2], self._run_groups[: _MOST_RUNS // 2]
        self._runs.append(_internals.next_run())
        self._run_groups.append(group)

    def _lazy(self, statement: Statement, shape: str, walk: Walk, asked: _internals.Asked) -> Group:
        relationship = asked.path[-1] if asked.path else shape
        group = self._group(
            LAZY,
            relationship,
            statement,
            shape,
            walk,
            (LAZY, relationship, walk.key, self._unit(walk) if walk.worker or walk.request else 0),
        )
        self._for_parent(group, asked.parent)
        return group

    def _column(self, statement: Statement, shape: str, walk: Walk, asked: _internals.Asked) -> Group:
        columns = _internals.only_columns(statement.execution)
        mapper = asked.refreshed.mapper if asked.refreshed is not None else None
        subject = (mapper, columns, asked.by_user)
        group = self._group(
            COLUMN,
            subject,
            statement,
            shape,
            walk,
            (COLUMN, subject, walk.key, self._unit(walk) if walk.worker or walk.request else 0),
        )
        if group.count and group.last_writes != self._writes:
            # Something was written since the last one: a refresh after a write is what refresh is for.
            group.isolated += 1
        group.last_writes = self._writes
        self._for_parent(group, asked.refreshed)
        return group

    def _for_parent(self, group: Group, state: Any) -> None:
        if group.count >= _ENOUGH_PARENTS:
            return
        run = state.runid or 0
        if run:
            above = self.group_of_run(run)
            if group.count == 0:
                group.loaded = above
            elif above is group:
                group.circular = True
        group.add_parent(state.key or id(state), run)

    def _read(self, statement: Statement, shape: str, walk: Walk) -> Group:
        group = self._group(
            READ, None, statement, shape, walk, (READ, shape, walk.key, self._unit(walk) if walk.worker or walk.request else 0)
        )
        if group.reads is None:
            group.reads = Reads(statement.parameters, statement.sql, self._transactions)
            if not walk.worker and walk.request is None:
                self._reads[shape, walk.key] = group
        else:
            self._compare(group, statement)
        return group

    def _compare(self, group: Group, statement: Statement) -> None:
        reads = group.reads
        assert reads is not None
        quick = statement.started - self._last_end < _QUICK
        before = reads.tight
        reads.add(statement.parameters, statement.sql, self._transactions, quick=quick)
        if group.compiled is None:
            group.compiled, group.dialect = statement.execution.compiled, statement.execution.dialect
        if not reads.varied and (before == reads.tight or "LIMIT" in group.shape):
            self._polls += 1

    def _write(self, statement: Statement, shape: str, walk: Walk) -> Group:
        self._writes += 1
        group = self._group(
            WRITE,
            None,
            statement,
            shape,
            walk,
            (WRITE, shape, walk.key, self._unit(walk) if walk.worker or walk.request else 0),
        )
        if group.writes is None:
            group.writes = Writes(statement.parameters, statement.sql)
            group.compiled, group.dialect = statement.execution.compiled, statement.execution.dialect
        rows = 2 if statement.many else getattr(statement.cursor, "rowcount", 1)
        flush = self._flushes if walk.flushing else None
        group.writes.add(
            statement.parameters, statement.sql, rows=rows, flush=flush, savepoints=self._savepoints, polls=self._polls
        )
        return group

    # Groups and their bounds.

    def _group(self, kind: str, subject: Any, statement: Statement, shape: str, walk: Walk, key: tuple[Any, ...]) -> Group:
        group = self.groups.get(key)
        if group is None:
            if len(self.groups) >= _MOST_GROUPS:
                self._drop_singles()
            group = self.groups[key] = Group(kind, subject, statement.sql[:4_000], shape, walk.places)
            group.repository = walk.repository
            group.web = walk.worker or walk.request is not None
        return group

    def _drop_singles(self) -> None:
        keep = dict(list(self.groups.items())[-_MOST_GROUPS // 4 :])
        keep |= {key: group for key, group in self.groups.items() if group.count > 1}
        if len(keep) > _MOST_GROUPS * 3 // 4:
            keep = dict(sorted(keep.items(), key=lambda item: -item[1].count)[: _MOST_GROUPS // 2])
        self._reads.clear()
        self.dropped += len(self.groups) - len(keep)
        self.groups = keep

    def _unit(self, walk: Walk) -> int:
        """Number the request a statement belongs to, so that two requests of one scope are not taken for a loop."""
        if walk.request is not None:
            known = self._requests.get(id(walk.request))
            if known is None:
                if len(self._requests) >= _MOST_REQUESTS:
                    del self._requests[next(iter(self._requests))]
                known = self._requests[id(walk.request)] = (walk.request, next(_units))
            return known[1]
        if walk.worker:
            unit = _worker_unit.get()
            if not unit:
                unit = next(_units)
                _worker_unit.set(unit)
            return unit
        return 0
