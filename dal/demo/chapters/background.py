"""A job: the flights again, in the background, by a worker that is killed half-way and by the one that goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from sqlalchemy import text

from dal.bulk import BulkResult
from dal.demo.data import ROWS, data_files
from dal.demo.models import Flight
from dal.demo.stage import Chapter, Stage
from dal.jobs import Job

__all__ = ["CHAPTER"]


def _tell(stage: Stage) -> None:
    file = next(file for file in data_files() if file.table == "flights")
    with TemporaryDirectory(prefix="dal-demo-") as folder:
        path = Path(folder) / "flights.csv"
        with file.open() as packed, path.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
        with stage.db.engine.begin() as connection:
            connection.execute(text("TRUNCATE flights RESTART IDENTITY"))
        began = time.perf_counter()
        job = stage.db.jobs.import_file(path, into=Flight)
        stage.console.print(f"submitted as job {job.id} after {(time.perf_counter() - began) * 1000:.0f} ms; a worker takes it")
        result = _watch(stage, job)
    with stage.db.engine.connect() as connection:
        rows, different = connection.execute(text("SELECT count(*), count(DISTINCT id) FROM flights")).one()
    stage.console.print(
        f"{result.inserted:,} inserted in {job.progress().attempts} runs; the table has {rows:,} rows with {different:,} ids"
    )
    if rows != ROWS["flights"]:
        raise RuntimeError(f"flights has {rows} rows, not {ROWS['flights']}")


def _watch(stage: Stage, job: Job[BulkResult]) -> BulkResult:
    """Show the progress, kill the worker in the middle, and start another."""
    columns = TextColumn("{task.description:<9}"), BarColumn(bar_width=32), MofNCompleteColumn()
    worker, killed = _worker(stage), False
    try:
        with Progress(*columns, console=stage.console) as bar:
            task = bar.add_task("flights", total=ROWS["flights"])
            while (now := job.progress()).state in {"waiting", "running"}:
                bar.update(task, completed=now.done)
                if not killed and now.done > ROWS["flights"] // 3:
                    worker.kill()
                    worker.wait()
                    bar.console.print(f"the worker is killed at {now.done:,} rows; another one is started")
                    worker, killed = _worker(stage), True
                time.sleep(0.05)
            bar.update(task, completed=now.done)
        return job.wait()
    finally:
        worker.terminate()
        worker.wait()


def _worker(stage: Stage) -> subprocess.Popen[bytes]:
    url = stage.db.url.render_as_string(hide_password=False)
    return subprocess.Popen(
        [sys.executable, "-m", "dal.cli", "worker", "--url", url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


CHAPTER = Chapter("An import in the background, and its worker killed", _tell)
