"""How fast a test gets a database of its own: from the clones kept ready, and by plain cloning.

    python benchmarks/testing.py [--rounds 60] [--work 0.1]

Both run in turn on one embedded server, as the fixtures start it (it does not sync to disk), with one template of 20
tables. Warm: a database is ready when a test asks; each test sleeps for `--work` seconds, in which the next clone is made,
and the figures tell how often that was in time. Sustained: tests that do nothing, one after the other, so that the pool is
never warm; the rate is of databases made, used and dropped.

Limit: the median time to get a database while warm is under 5 ms.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter, sleep

from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, create_engine
from sqlalchemy.engine import URL

from dal.embedded import EmbeddedServer
from dal.testing import ReadyDatabases, Template

LIMIT = 0.005
TURNS = 3


def schema(url: URL) -> None:
    metadata = MetaData()
    for number in range(20):
        parent = [Column("parent", ForeignKey(f"table_{number - 1}.id"), index=True)] if number else []
        Table(f"table_{number}", metadata, Column("id", Integer, primary_key=True), Column("name", String, index=True), *parent)
    engine = create_engine(url)
    metadata.create_all(engine)
    engine.dispose()


def use(lend: Callable[[], AbstractContextManager[URL]], rounds: int, work: float) -> list[float]:
    times = []
    for _ in range(rounds):
        began = perf_counter()
        with lend():
            times.append(perf_counter() - began)
            sleep(work)
    return times


def rate(lend: Callable[[], AbstractContextManager[URL]], rounds: int, end: Callable[[], object]) -> float:
    began = perf_counter()
    use(lend, rounds, 0.0)
    end()
    return rounds / (perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--work", type=float, default=0.1, help="seconds a test takes")
    options = parser.parse_args()
    warm, cold, plain, pooled_rates, plain_rates = [], [], [], [], []
    with EmbeddedServer(temporary=True) as server, Template(server, "bench", fill=schema) as template:
        for _ in range(TURNS):
            with ReadyDatabases(template) as databases:
                databases.warm_up()
                for _ in range(options.rounds // TURNS):
                    (warm if databases.stats().idle else cold).extend(use(databases.lease, 1, options.work))
            plain += use(template.clone, options.rounds // TURNS, options.work)
            pooled = ReadyDatabases(template, expected=options.rounds)
            pooled_rates.append(rate(pooled.lease, options.rounds, pooled.close))
            plain_rates.append(rate(template.clone, options.rounds, lambda: None))
    median = statistics.median(warm)
    print(f"to get a database, tests of {options.work * 1000:.0f} ms:")
    for name, times in (("warm", warm), ("not warm", cold), ("plain clone", plain)):
        if times:
            shown = (statistics.median(times), sorted(times)[int(len(times) * 0.95)], max(times))
            print(f"  {name:12} {len(times):4} x   median, p95, max: {', '.join(f'{each * 1000:.3f}' for each in shown)} ms")
    fast, slow = statistics.median(pooled_rates), statistics.median(plain_rates)
    print(f"sustained, tests of 0 ms: {fast:.1f} databases/s, by plain cloning {slow:.1f} ({fast / slow:.2f} x)")
    print(f"limit: warm median under {LIMIT * 1000:.0f} ms: {'kept' if median < LIMIT else 'BROKEN'}")
    return 0 if median < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
