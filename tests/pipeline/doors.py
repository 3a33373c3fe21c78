"""One suite for both doors: a pipeline that is run the same way."""

from __future__ import annotations

import asyncio
from typing import Any

from dal import AsyncPipeline, Pipeline, PipelineReport

DOORS = {"threads": Pipeline, "tasks": AsyncPipeline}


def run(pipeline: Any, **options: Any) -> PipelineReport:
    """Run a pipeline through its door."""
    if isinstance(pipeline, AsyncPipeline):
        return asyncio.run(pipeline.run(**options))
    report: PipelineReport = pipeline.run(**options)
    return report
