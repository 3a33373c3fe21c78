"""A finding turns into a policy for its origin: the only place where detection meets loading.

With `detect.install(action="batch")`, a query whose objects were seen loading a relationship one by one is executed with
`batched()` from then on, in this process. The line of the query is the origin; statements that carry a policy of their own are
left alone. Use it to take the pain away while the fix is written, not instead of it: each origin is told once, with its fix.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass

from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session

from dal.detection.findings import ColumnNPlusOne, NPlusOne
from dal.detection.groups import READ, Group
from dal.detection.installed import Thresholds
from dal.detection.report import Report
from dal.detection.trail import walk
from dal.events import Observer, state
from dal.loading import batched
from dal.loading._internals import options_of
from dal.loading.policy import policies_of

__all__ = ["Batching", "Healed"]

_MOST_ORIGINS = 1_000


@dataclass(frozen=True)
class Healed:
    """A query loads in batches from now on.

    Args:
        origin: The line of the query.
        subject: What was loaded one by one.
        queries: How many statements that took.
        fix: The line to write.
    """

    origin: str
    subject: str
    queries: int
    fix: str


class Batching:
    """Queries that were seen doing N+1, and `batched()` for them.

    Args:
        observer: Told once about each origin.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._origins: dict[int, Group] = {}
        self._lock = threading.Lock()
        self._listening = False

    def heal(self, report: Report, thresholds: Thresholds) -> None:
        """Give the origins of a report's findings `batched()`.

        Args:
            report: What was found.
            thresholds: From where on a finding is worth it.
        """
        worth = set(map(id, thresholds.pick(report)))
        for finding, group in report.judged():
            if id(finding) not in worth or not isinstance(finding, (NPlusOne, ColumnNPlusOne)):
                continue
            origin = _origin(group)
            if origin is not None and origin.key and self._add(origin):
                where = str(origin.sites[0]) if origin.sites else "(no application frame)"
                state(self._observer, Healed(where, finding.subject, finding.queries, finding.fix))

    def close(self) -> None:
        """Let every query load as it is written."""
        with self._lock:
            self._origins.clear()
            if self._listening:
                self._listening = False
                event.remove(Session, "do_orm_execute", self._execute)

    def _add(self, origin: Group) -> bool:
        with self._lock:
            if origin.key[0] in self._origins or len(self._origins) >= _MOST_ORIGINS:
                return False
            # The group keeps the code alive, so that its number stays its own.
            self._origins[origin.key[0]] = origin
            if not self._listening:
                self._listening = True
                event.listen(Session, "do_orm_execute", self._execute)
            return True

    def _execute(self, execution: ORMExecuteState) -> None:
        if not execution.is_select or execution.is_relationship_load or execution.is_column_load:
            return
        chain = walk(sys._getframe(1)).key
        if chain and chain[0] in self._origins and not policies_of(options_of(execution.statement)):
            execution.statement = execution.statement.options(batched())


def _origin(group: Group) -> Group | None:
    """Return the query that the objects of a finding go back to."""
    above, seen = group.loaded, {id(group)}
    while above is not None and above.kind != READ and id(above) not in seen:
        seen.add(id(above))
        above = above.loaded
    return above if above is not None and above.kind == READ else None
