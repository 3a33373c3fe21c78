"""What both middlewares do with a request: decide, watch, log, and describe."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dal.detection import listeners
from dal.detection.installed import Detected, Thresholds
from dal.detection.report import Report
from dal.detection.scope import Scope
from dal.errors import UsageError

if TYPE_CHECKING:
    from dal.events import Observer

__all__ = ["EVERYTHING", "Settings", "Watched"]

_log = logging.getLogger("dal.detection.requests")

EVERYTHING = Thresholds(min_queries=2, min_seconds=0.0)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a middleware does with each request.

    Args:
        sample: The share of requests to watch, 0 to 1.
        panel: Add a panel to HTML pages; for development only.
        observer: Called with a `Detected` for each request that has findings.
        thresholds: From where on a finding is worth telling.
    """

    sample: float = 1.0
    panel: bool = False
    observer: Observer | None = None
    thresholds: Thresholds = EVERYTHING

    def __post_init__(self) -> None:
        if not 0 <= self.sample <= 1:
            raise UsageError(f"sample={self.sample}: not a share", hint="use a number from 0 to 1")

    def watch(self, name: str) -> Watched | None:
        """Begin to watch a request, or leave it alone."""
        if self.sample < 1 and random.random() >= self.sample:
            return None
        return Watched(self, name)


class Watched:
    """One request under observation.

    Args:
        settings: What to do with it.
        name: Method and path.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.scope = Scope(follow_threads=False, track_eager=settings.panel, timeline=200 if settings.panel else 0)
        self.report = Report(self.scope, allow=settings.thresholds.allow)
        self._ended = False
        listeners.open_scope(self.scope)

    def headers(self) -> list[tuple[str, str]]:
        """Return what is known when the response starts."""
        return [
            ("x-dal-queries", str(self.report.count)),
            ("x-dal-findings", str(len(self.settings.thresholds.pick(self.report)))),
        ]

    def end(self, status: int | str) -> None:
        """Stop watching, log the request and tell the observer."""
        if self._ended:
            return
        self._ended = True
        listeners.close(self.scope)
        findings = self.settings.thresholds.pick(self.report)
        _log.log(
            logging.WARNING if findings else logging.INFO,
            "%s %s: %d statements, %.1f ms%s",
            self.name,
            status,
            self.report.count,
            self.report.seconds * 1000,
            "".join(f"\n  {finding.message} at {finding.call_site}; write {finding.fix}" for finding in findings),
        )
        if findings and self.settings.observer is not None:
            from dal.events import state  # only who tells pays for its import

            state(self.settings.observer, Detected(self.name, self.report.count, self.report.seconds, findings))
