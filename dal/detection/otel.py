"""Findings as events of the current OpenTelemetry span."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dal._extras import require
from dal.detection.installed import Detected

if TYPE_CHECKING:
    from dal.events import Observer

__all__ = ["span_events"]


def span_events() -> Observer:
    """Return an observer that adds one event for each finding to the span of the request at hand.

    Returns:
        The observer, for `detect.install(observer=span_events())`.

    Raises:
        MissingExtra: opentelemetry-api is not installed.
    """
    trace = require("opentelemetry.trace", extra="otel", purpose="span_events()")

    def observe(fact: object, /) -> None:
        if not isinstance(fact, Detected):
            return
        span = trace.get_current_span()
        for finding in fact.findings:
            span.add_event(
                f"dal.{finding.rule}",
                {
                    "dal.subject": finding.subject,
                    "dal.queries": finding.queries,
                    "dal.seconds": finding.seconds,
                    "dal.saves": finding.saves,
                    "dal.fix": finding.fix,
                    "code.location": finding.call_site,
                    "db.query.text": finding.sql,
                },
            )

    return observe
