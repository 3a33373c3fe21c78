"""The async door: each name does over an AsyncSession what its sync sibling does over a Session."""

from dal.asyncio.batch import AsyncBatchWriter
from dal.asyncio.bulk import AsyncBulkWriter
from dal.asyncio.database import AsyncDatabase
from dal.asyncio.pipeline import AsyncPipeline
from dal.asyncio.pool import AsyncObjectPool
from dal.asyncio.repository import AsyncRepository

__all__ = ["AsyncBatchWriter", "AsyncBulkWriter", "AsyncDatabase", "AsyncObjectPool", "AsyncPipeline", "AsyncRepository"]
