"""Statements of one shape from one place, counted: what rules judge, and all that a scope keeps of a statement.

A group never grows with its count: it holds counters, a few hashes and one example text, of which only the shape is told.
"""

from __future__ import annotations

import weakref
from types import CodeType
from typing import Any

from dal.detection.callsite import CallSite, number_of, sites_of
from dal.detection.fingerprint import literals, mark, marks

__all__ = ["COLUMN", "EAGER", "LAZY", "READ", "WRITE", "Group", "Reads", "Writes"]

LAZY, COLUMN, READ, WRITE, EAGER = "lazy", "column", "read", "write", "eager"

_MOST_DISTINCT = 64
_SETTLED = 8


class Group:
    """One shape at one place.

    Attributes:
        kind: LAZY, COLUMN, READ, WRITE or EAGER.
        subject: The relationship property of a lazy load, (mapper, attributes, how) of a column load, the entity of a read, the
            table of a write.
        sql: The text of the first statement, with the literals it was written with.
        shape: The same without literals: what findings show.
        count: How many statements.
        seconds: Time they took in the driver, in seconds.
        parents: Hashes of the objects that were loaded for, at most 64.
        batches: How many of them came from each result.
        loaded: The group that loaded the first parent, if it was seen.
        circular: A later parent was loaded by the group itself: a walk from object to object.
        last_writes: How many rows the scope had written when its last statement came.
        transaction: The transaction of its last statement.
    """

    __slots__ = (
        "_sites",
        "batches",
        "circular",
        "compiled",
        "count",
        "dialect",
        "isolated",
        "kind",
        "last_writes",
        "loaded",
        "orm",
        "parents",
        "places",
        "reads",
        "repository",
        "seconds",
        "shape",
        "sql",
        "subject",
        "transaction",
        "web",
        "writes",
    )  # fmt: skip

    def __init__(self, kind: str, subject: Any, sql: str, shape: str, places: list[tuple[CodeType, int]]) -> None:
        self.kind = kind
        self.subject = subject
        self.sql = sql
        self.shape = shape
        self.places = places
        self.count = 0
        self.seconds = 0.0
        self.repository = False
        self.web = False
        self.parents: set[int] = set()
        self.batches: dict[int, int] = {}
        self.loaded: Group | None = None
        self.circular = False
        self.orm = False
        self.isolated = 0
        self.last_writes = -1
        self.transaction: weakref.ref[Any] | None = None
        self.reads: Reads | None = None
        self.writes: Writes | None = None
        self.compiled: Any = None
        self.dialect: Any = None
        self._sites: tuple[CallSite, ...] | None = None

    @property
    def key(self) -> tuple[int, ...]:
        """The places as numbers, as `trail.Trail.key` has them."""
        return tuple(number_of(code, offset) for code, offset in self.places)

    @property
    def sites(self) -> tuple[CallSite, ...]:
        """The application's lines, innermost first."""
        if self._sites is None:
            self._sites = sites_of(self.places)
        return self._sites

    def add_parent(self, key: object, batch: int) -> None:
        """Count one object that something was loaded for, of the result numbered `batch`."""
        if len(self.parents) < _MOST_DISTINCT:
            self.parents.add(mark(key))
        if batch in self.batches or len(self.batches) < _MOST_DISTINCT:
            self.batches[batch] = self.batches.get(batch, 0) + 1


class Reads:
    """What changed from one execution of a SELECT to the next.

    Attributes:
        varied: Names of the parameters, or positions of the literals, that changed.
        tight: How often it was asked again with nothing changed, at once, in the same transaction, with nothing written there.
        ones: Names of the parameters that are 1, among them perhaps LIMIT.
        settled: It is known by now what varies.
    """

    __slots__ = (
        "changed_size", "first", "first_sql", "last", "last_size", "ones", "settled", "shortest", "size", "tight", "times",
        "varied",
    )  # fmt: skip

    def __init__(self, parameters: Any, sql: str) -> None:
        self.first = marks(parameters)
        self.ones = {name for name, value in _named(parameters) if value == 1 and isinstance(value, int)}
        self.last = self.first
        self.first_sql = sql
        self.size = self.last_size = len(parameters or ())
        self.shortest = self.size
        self.changed_size = 0
        self.varied: set[str] = set()
        self.tight = 0
        self.times = 1
        self.settled = False

    def add(self, parameters: Any, sql: str) -> bool:
        """Compare one more execution with the ones before; tell whether the last one asked the same."""
        self.times += 1
        self.settled = self.times > _SETTLED and bool(self.varied)
        found = marks(parameters)
        if sql is not self.first_sql and sql != self.first_sql:
            self.varied |= _changed_literals(self.first_sql, sql)
        same = found == self.last
        if not same and len(self.varied) < 16:
            first = self.first.get
            for name, value in found.items():
                if first(name, value) != value:
                    self.varied.add(name)
        self.last = found
        self.measure(parameters)
        return same

    def measure(self, parameters: Any) -> None:
        """Note how many parameters there are: once it is settled what changes, only the length of lists says more."""
        size = len(parameters or ())
        # The last list of a chunked walk may be short, so the shortest one is taken without it.
        if self.last_size < self.shortest:
            self.shortest = self.last_size
        self.last_size = size
        if size != self.size:
            self.changed_size += 1


def _changed_literals(ours: str, theirs: str) -> set[str]:
    """Name the literals by which two texts of one shape differ."""
    one, other = literals(ours), literals(theirs)
    if len(one) != len(other):
        return {"#list"}
    return {f"#{at}" for at, (left, right) in enumerate(zip(one, other, strict=True)) if left[1] != right[1]}


def _named(parameters: Any) -> list[tuple[str, Any]]:
    if not parameters:
        return []
    if isinstance(parameters, dict):
        return list(parameters.items())[:16]
    return [(str(at), value) for at, value in enumerate(parameters[:16])]


class Writes:
    """How rows were written, one execution after the other.

    Attributes:
        single: Executions that wrote at most one row, each flush counted once.
        bulk: Executions that wrote several.
        varied: Parameters that changed.
        isolated: How often a savepoint was set since the execution before.
        polled: How often a queue was asked for one row since the execution before.
    """

    __slots__ = ("bulk", "first", "first_sql", "flush", "isolated", "polled", "polls", "savepoints", "single", "varied")

    def __init__(self, parameters: Any, sql: str) -> None:
        self.first = marks(parameters)
        self.first_sql = sql
        self.varied: set[str] = set()
        self.single = self.bulk = self.isolated = self.polled = 0
        self.flush = self.savepoints = self.polls = -1

    def add(self, parameters: Any, sql: str, *, rows: int, flush: int | None, savepoints: int, polls: int) -> None:
        """Count one more execution; `flush` numbers the flush it belongs to, None outside of one."""
        if self.single + self.bulk < _SETTLED:
            self._compare(parameters, sql)
        self._count(rows, flush, savepoints, polls)

    def _compare(self, parameters: Any, sql: str) -> None:
        self.varied.update(name for name, value in marks(parameters).items() if self.first.get(name, value) != value)
        if sql is not self.first_sql and sql != self.first_sql:
            self.varied |= _changed_literals(self.first_sql, sql)

    def _count(self, rows: int, flush: int | None, savepoints: int, polls: int) -> None:
        if rows > 1:
            self.bulk += 1
            self.flush = -1 if flush is None else flush
            return
        if flush is None or flush != self.flush:
            self.single += 1
            self.isolated += savepoints != self.savepoints
            self.polled += polls != self.polls
        elif self.single:
            # A second row of the same flush: SQLAlchemy wrote what it was given at once.
            self.bulk += 1
        self.flush = -1 if flush is None else flush
        self.savepoints, self.polls = savepoints, polls
