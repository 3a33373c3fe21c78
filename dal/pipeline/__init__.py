"""Stages that run at the same time, bounded queues between them, and a report for each."""

from dal.pipeline.after import BuildIndexes
from dal.pipeline.aggregate import Aggregate
from dal.pipeline.pipeline import Pipeline
from dal.pipeline.report import PipelineReport, RejectedItem, StageReport
from dal.pipeline.sources import read_csv, read_jsonl, read_parquet, read_select

__all__ = [
    "Aggregate",
    "BuildIndexes",
    "Pipeline",
    "PipelineReport",
    "RejectedItem",
    "StageReport",
    "read_csv",
    "read_jsonl",
    "read_parquet",
    "read_select",
]
