"""The schema, by migration."""

from __future__ import annotations

import time

from dal.demo.environment import environment
from dal.demo.stage import Chapter, Stage
from dal.migrations import Migrations

__all__ = ["CHAPTER"]


def _tell(stage: Stage) -> None:
    started = time.perf_counter()
    applied = Migrations(stage.db.engine, folder=environment()).up()
    took = (time.perf_counter() - started) * 1000
    for revision in applied:
        stage.console.print(f"applied {revision}  [dim]{took:.0f} ms[/]")
    if not applied:
        stage.console.print("up to date")


CHAPTER = Chapter("Schema by migration", _tell)
