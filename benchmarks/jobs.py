"""An import as a background job beside the same load in the foreground: what durability costs, and how much memory it takes.

    python benchmarks/jobs.py [import] [memory]

Peer: `BulkWriter.load` of the same file with the same validation, in one transaction. The job is submitted, run by a worker in
this process and waited for; every 1 MiB of the file is a transaction with its checkpoint. `memory` lets a worker of its own
process load the flights once and twenty times over (about 600 MB) and reads its peak. It starts its own server.

Limits: a job takes at most 1.5 times as long; a worker grows by at most 100 MB for a file of any length.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import text

from dal import BulkWriter, Database
from dal.demo.data import data_files
from dal.demo.models import Base, Flight
from dal.embedded import EmbeddedServer

ROUNDS = 5
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB"}


def flies(row: dict[str, Any]) -> dict[str, Any]:
    """Refuse a flight that goes nowhere."""
    if row["distance"] <= 0:
        raise ValueError("a flight goes somewhere")
    return row


def flights(folder: Path, times: int = 1) -> Path:
    file = next(file for file in data_files() if file.table == "flights")
    path = folder / f"flights{times}.csv"
    with path.open("wb") as plain:
        for number in range(times):
            with file.open() as packed:
                if number:
                    packed.readline()
                shutil.copyfileobj(packed, plain)
    return path


def empty(db: Database) -> None:
    with db.engine.begin() as connection:
        connection.execute(text("TRUNCATE flights RESTART IDENTITY"))
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))


def imports(db: Database, folder: Path) -> bool:
    """A load in the foreground and as a job, with validation and without."""
    path = flights(folder)
    kept = True
    print(f"\nimport of the flights, {ROUNDS} rounds")
    # A worker finds the validation by its module: this file is one, found beside it.
    from benchmarks.jobs import flies as validation

    for name, validate in (("validated row by row", validation), ("not validated", None)):
        ways: dict[str, Callable[[], Any]] = {
            "BulkWriter.load": lambda validate=validate: BulkWriter(db, Flight).load(path, validate=validate),
            "db.jobs.import_file": lambda validate=validate: db.jobs.import_file(path, into=Flight, validate=validate).wait(),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, load in ways.items():
                empty(db)
                began = time.perf_counter()
                assert load().inserted == 336_776
                taken[way].append(time.perf_counter() - began)
        base = statistics.median(taken["BulkWriter.load"])
        for way, times in taken.items():
            ratio = statistics.median(times) / base
            verdict = "" if way == "BulkWriter.load" else f"<= 1.5 {'ok' if ratio <= 1.5 else 'MISSED'}"
            kept = kept and ratio <= 1.5
            print(f"  {name:<22}{way:<22}{statistics.median(times):7.2f} s   x {ratio:.2f}   {verdict}")
    return kept


def memory(db: Database, folder: Path) -> bool:
    """The peak of a worker process that loads the flights once, and twenty times over."""
    peaks = []
    print("\npeak of a worker's memory")
    for times in (1, 20):
        path = flights(folder, times)
        empty(db)
        job = db.jobs.import_file(path, into=Flight)
        url = db.url.render_as_string(hide_password=False)
        worker = subprocess.Popen([sys.executable, "-m", "dal.cli", "worker", "--url", url], stdout=subprocess.DEVNULL)
        began = time.perf_counter()
        assert job.wait().inserted == 336_776 * times
        took = time.perf_counter() - began
        peaks.append(peak(Path(f"/proc/{worker.pid}/status").read_text()))
        worker.terminate()
        worker.wait()
        print(f"  {path.stat().st_size / 1e6:7.0f} MB in {took:6.1f} s: {peaks[-1]:6.0f} MB")
        path.unlink()
    interpreter = "print(open('/proc/self/status').read())"
    idle = peak(subprocess.run([sys.executable, "-c", interpreter], check=True, capture_output=True, text=True).stdout)
    grown = peaks[-1] - idle
    print(f"  over the interpreter: {grown:.0f} MB   <= 100 {'ok' if grown <= 100 else 'MISSED'}")
    return grown <= 100


def peak(status: str) -> float:
    """Read the peak of a process's memory, in MB."""
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> int:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    chosen = sys.argv[1:] or ["import", "memory"]
    sections = {"import": imports, "memory": memory}
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer(Path(folder) / "postgres", settings=SETTINGS) as server,
        Database(server.url()) as db,
    ):
        Path(folder).chmod(0o755)
        Base.metadata.create_all(db.engine)
        with db.worker():
            kept = [sections[name](db, Path(folder)) for name in chosen if name == "import"]
        kept += [sections[name](db, Path(folder)) for name in chosen if name == "memory"]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
