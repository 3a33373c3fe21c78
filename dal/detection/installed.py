"""Detection that is always on: a sample of transactions, judged when they end, told to an observer.

Only what the dialect of a watched connection sends is looked at, so that everything else runs as if nothing were installed.
"""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction

from dal.detection import listeners, taps
from dal.detection.attached import Attached
from dal.detection.findings import Finding
from dal.detection.report import Report, is_allowed
from dal.detection.scope import Scope
from dal.errors import UsageError

if TYPE_CHECKING:
    from dal.events import Observer

__all__ = ["Detected", "Installed", "Thresholds", "install", "log_findings", "uninstall"]

_log = logging.getLogger("dal.detection")
_MOST_LOGGED = 1_000


@dataclass(frozen=True)
class Detected:
    """One transaction or request had findings.

    Args:
        name: What was watched: "transaction", or method and path of a request.
        statements: How many statements it sent.
        seconds: How long they took in the driver.
        findings: What was found, above the thresholds.
    """

    name: str
    statements: int
    seconds: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """From where on a finding is worth telling.

    Args:
        min_queries: Statements of one finding.
        min_seconds: Time they took, in seconds.
        allow: Patterns of what is known and accepted.
    """

    min_queries: int = 5
    min_seconds: float = 0.05
    allow: tuple[str, ...] = ()

    def reached(self, statements: int, seconds: float) -> bool:
        """Tell whether so much can hold a finding worth telling: no part can reach what the whole does not."""
        return statements >= self.min_queries and seconds >= self.min_seconds

    def pick(self, report: Report) -> tuple[Finding, ...]:
        """Return the findings of a report that are worth telling."""
        if not self.reached(report.count, report.seconds):
            return ()
        return tuple(
            finding
            for finding in report.findings
            if finding.queries >= self.min_queries
            and finding.seconds >= self.min_seconds
            and not is_allowed(finding, self.allow)
        )


class _Logger:
    """The default observer: one warning for each place, once."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str, str]] = set()

    def __call__(self, fact: object, /) -> None:
        if not isinstance(fact, Detected):
            return
        for finding in fact.findings:
            key = (finding.rule, finding.subject, finding.call_site)
            if key in self._told:
                continue
            if len(self._told) < _MOST_LOGGED:
                self._told.add(key)
            _log.warning("%s at %s; write %s", finding.message, finding.call_site, finding.fix)


def log_findings() -> Observer:
    """Return an observer that logs each finding once, as a warning of the logger `dal.detection`."""
    return _Logger()


class Healer(Protocol):
    """What `action="batch"` does with a report; the floor above implements it."""

    def heal(self, report: Report, thresholds: Thresholds) -> None:
        """Change how the queries behind the findings load."""

    def close(self) -> None:
        """Change nothing any more."""


class Installed:
    """The handle of an installation; also a context manager.

    Attributes:
        began: Called when a transaction begins: decides whether it is in the sample.
        ended: Called when one ends: judges it if it was watched.
    """

    def __init__(self, thresholds: Thresholds, observer: Observer, sample: float, healer: Healer | None) -> None:
        self._thresholds = thresholds
        self._observer = observer
        self._healer = healer
        watched = self._watched = Attached[Scope]()
        drawn = random.Random().random

        # What transactions that are not in the sample pay for.
        def began(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
            if drawn() < sample:
                self._began(transaction, connection)

        def ended(session: Session, transaction: SessionTransaction) -> None:
            if watched:
                self._ended(transaction)

        self.began, self.ended = began, ended

    def __enter__(self) -> Installed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.uninstall()

    def uninstall(self) -> None:
        """End it; what is being watched at the moment is not judged any more."""
        uninstall(self)

    def _began(self, transaction: SessionTransaction, connection: Connection) -> None:
        try:
            self._watch(transaction, connection)
        except Exception:
            _log.warning("a transaction could not be watched", exc_info=True)

    def _watch(self, transaction: SessionTransaction, connection: Connection) -> None:
        if listeners.active():
            return
        root = transaction
        while root.parent is not None:
            root = root.parent
        scope = self._watched.of(root)
        if scope is None:
            scope = Scope(follow_threads=False, track_eager=False)
            self._watched.put(root, scope)
        taps.attach(connection, scope)

    def _ended(self, transaction: SessionTransaction) -> None:
        found = self._watched.pop(id(transaction), None)
        if found is None:
            return
        scope = found[0]
        try:
            taps.detach(scope)
            scope.close()
            if not self._thresholds.reached(scope.statements, scope.seconds):
                return
            report = Report(scope)
            self.tell("transaction", report)
            if self._healer is not None:
                self._healer.heal(report, self._thresholds)
        except Exception:
            _log.warning("a watched transaction could not be judged", exc_info=True)

    def closed(self) -> None:
        """Watch nothing any more, and take back what was changed."""
        taps.detach_all()
        self._watched.clear()
        if self._healer is not None:
            self._healer.close()

    def tell(self, name: str, report: Report) -> None:
        """Tell the observer what is worth telling."""
        findings = self._thresholds.pick(report)
        if findings:
            from dal.events import state  # only who tells pays for its import

            state(self._observer, Detected(name, report.count, report.seconds, findings))


_lock = threading.Lock()
_current: Installed | None = None


def install(
    thresholds: Thresholds, *, observer: Observer | None, sample: float, action: Literal["report", "batch"]
) -> Installed:
    """Begin to watch; see `detect.install`."""
    global _current
    if not 0 <= sample <= 1:
        raise UsageError(f"sample={sample}: not a share", hint="use a number from 0 to 1, 0.01 for one in a hundred")
    if action not in ("report", "batch"):
        raise UsageError(f"action={action!r}: there is no such action", hint='use "report" or "batch"')
    chosen = observer or log_findings()
    # Healing joins this room with loading and stands above both: it is looked up when it is asked for.
    healer: Healer | None = import_module("dal.healing").Batching(chosen) if action == "batch" else None
    with _lock:
        if _current is not None:
            raise UsageError("detection is installed already", hint="detect.uninstall() first")
        _current = Installed(thresholds, chosen, sample, healer)
        event.listen(Session, "after_begin", _current.began)
        event.listen(Session, "after_transaction_end", _current.ended)
        return _current


def uninstall(handle: Installed | None = None) -> None:
    """End an installation, the current one by default; one that has ended already stays so."""
    global _current
    with _lock:
        if _current is None or handle not in (None, _current):
            return
        event.remove(Session, "after_begin", _current.began)
        event.remove(Session, "after_transaction_end", _current.ended)
        _current.closed()
        _current = None
