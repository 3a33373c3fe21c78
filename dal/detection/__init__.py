"""N+1 detection: it looks at what SQLAlchemy sends and at nothing else, so it works in code that has never heard of dal."""

from dal.detection.callsite import CallSite
from dal.detection.detector import Detect, detect
from dal.detection.findings import (
    ColumnNPlusOne,
    Finding,
    MultipliedRows,
    NPlusOne,
    RepeatedStatement,
    RowByRowWrites,
    UnusedColumns,
    UnusedEagerLoad,
)
from dal.detection.installed import Detected, Installed, Thresholds, log_findings
from dal.detection.otel import span_events
from dal.detection.report import Report

__all__ = [
    "CallSite",
    "ColumnNPlusOne",
    "Detect",
    "Detected",
    "Finding",
    "Installed",
    "MultipliedRows",
    "NPlusOne",
    "RepeatedStatement",
    "Report",
    "RowByRowWrites",
    "Thresholds",
    "UnusedColumns",
    "UnusedEagerLoad",
    "detect",
    "log_findings",
    "span_events",
]
