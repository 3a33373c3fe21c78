"""What was found, as files: JSON, SARIF, GitHub annotations, and one HTML page to look at."""

from dal.detection.reports.record import FindingRecord, ScopeRecord, record, record_of
from dal.detection.reports.write import write_report

__all__ = ["FindingRecord", "ScopeRecord", "record", "record_of", "write_report"]
