"""Writing in bulk: many rows at the speed of COPY, and what became of each."""

from dal.bulk.result import BulkResult, Rejected
from dal.bulk.writer import BulkWriter

__all__ = ["BulkResult", "BulkWriter", "Rejected"]
