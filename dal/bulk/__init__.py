"""Writing in bulk: many rows at the speed of COPY, single rows in batches, files; and what became of each."""

from dal.bulk.batch import BatchWriter
from dal.bulk.checkpoint import Checkpoint
from dal.bulk.files import CsvDialect, FileProgress
from dal.bulk.result import BulkResult, Rejected
from dal.bulk.settings import Batch, BatchStats
from dal.bulk.writer import BulkWriter

__all__ = [
    "Batch",
    "BatchStats",
    "BatchWriter",
    "BulkResult",
    "BulkWriter",
    "Checkpoint",
    "CsvDialect",
    "FileProgress",
    "Rejected",
]
