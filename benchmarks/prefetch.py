"""Pages out of the cache beside pages out of the database, and what prefetching is worth: ratios and shares in one run.

    python benchmarks/prefetch.py [speed|walks|trace|nothing ...] [--trace requests.tsv] [--requests 3000]

* speed: a page of 50 rows with one relationship, from the database with dal's own keyset page and from the cache as mapped
  objects, shapes and dictionaries, in turn, many rounds; the figure is the median of the ratios of the rounds.
* walks: generated visitors, most of whom leave after a page and some of whom read on for long, with `sequential()`.
* trace: requests by page, of a web server's log if one is given (columns host, time, method, url, response as in the logs of
  the Internet Traffic Archive, tab-separated with a header), else generated, each with and without `predictive()`; the
  cache holds 500 pages for 300 seconds of the trace's own time.
* nothing: requests of which none repeats.

The peer is the same pager without a strategy: nothing else in Python prefetches. It starts its own server.
"""

from __future__ import annotations

import argparse
import gc
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import URL, ForeignKey, bindparam, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from dal import Database, MemoryCache, PoolConfig, eager, predictive, sequential, spatial
from dal.cache import cache, copies, dictionaries, memory, shapes
from dal.embedded import EmbeddedServer
from dal.paging import get_page
from dal.prefetch import PrefetchStats, Strategy

ROWS, SIZE, ROUNDS = 20_000, 50, 60
POOL = PoolConfig(min_pool_size=4, max_pool_size=6)


class Base(DeclarativeBase): ...


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    name: Mapped[str] = mapped_column(index=True)
    plan: Mapped[str]
    active: Mapped[bool]
    profile: Mapped[Profile | None] = relationship(back_populates="user")


class Profile(Base):
    __tablename__ = "profiles"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), unique=True)
    city: Mapped[str]
    biography: Mapped[str]
    user: Mapped[User] = relationship(back_populates="profile")


class Document(Base):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(unique=True)
    body: Mapped[str]


class Visit(NamedTuple):
    """A request of a trace: seconds, who, and what."""

    at: float
    client: str
    url: str


def fill(url: URL, visits: Sequence[Visit]) -> None:
    with Database(url, pool=POOL) as db, db.engine.begin() as connection:
        Base.metadata.create_all(connection)
        connection.exec_driver_sql(
            "INSERT INTO users SELECT n, n || '@example.org', 'name ' || lpad(n::text, 9, '0'), 'free', true"
            f" FROM generate_series(1, {ROWS}) AS n"
        )
        connection.exec_driver_sql(
            f"INSERT INTO profiles SELECT n, n, 'city ' || mod(n, 100), repeat('x', 80) FROM generate_series(1, {ROWS}) AS n"
        )
        documents = [{"url": page, "body": page * 20} for page in sorted({visit.url for visit in visits})]
        connection.execute(insert(Document), documents)
        connection.exec_driver_sql("ANALYZE")


def told(name: str, value: float, form: str, limit: str, kept: bool) -> bool:
    print(f"  {name:52} {format(value, form):>10}   {limit:14} {'ok' if kept else 'MISSED'}")
    return kept


def speed(url: URL, _: Sequence[Visit]) -> bool:
    """Take the same page from the database and out of the cache."""
    with Database(url, pool=POOL, cache=MemoryCache()) as db:
        statement, policy = select(User).where(User.active), eager(User.profile)

        def database(cursor: str | None) -> None:
            with db.session() as session:
                page = get_page(session, statement.options(policy), order_by=User.name, size=SIZE, after=cursor)
                assert page.items[0].profile is not None

        pagers = {
            form.__name__: db.pager(statement, order_by=[User.name], size=SIZE, policy=policy, form=form, prefetch=sequential())
            for form in (copies, shapes, dictionaries)
        }
        cursor = pagers["copies"].page(client=0).next
        works: dict[str, Callable[[], object]] = {"database": lambda: database(cursor)}
        for name, pager in pagers.items():
            works[name] = lambda pager=pager: pager.page(after=cursor, client=1)  # type: ignore[misc]
        taken: dict[str, list[float]] = {name: [] for name in works}
        names = list(works)
        for number in range(ROUNDS + 5):
            names = names[1:] + names[:1]
            for name in names:
                gc.collect()
                started = time.perf_counter()
                for _ in range(4):
                    works[name]()
                if number >= 5:
                    taken[name].append((time.perf_counter() - started) * 250)
    print(f"\nthe next page, {SIZE} rows with one relationship")
    print(f"  from the database: {statistics.median(taken['database']):.3f} ms")
    kept = True
    for name, least in (("copies", 5), ("shapes", 20), ("dictionaries", 20)):
        ratio = statistics.median(one / other for one, other in zip(taken["database"], taken[name], strict=True))
        milliseconds = statistics.median(taken[name])
        kept = (
            told(f"from the cache as {name} ({milliseconds:.3f} ms): times faster", ratio, ".1f", f">= {least}", ratio >= least)
            and kept
        )
    return kept


def walks(url: URL, _: Sequence[Visit]) -> bool:
    """Let visitors come and go: 70 % look at one page, the others go on with 19 of 20."""
    chance = random.Random(1)
    with Database(url, pool=POOL, cache=MemoryCache(max_entries=1000)) as db:
        db.pool.warm_up("10s")
        pager = db.pager(
            select(User).where(User.id > bindparam("since")),
            order_by=[User.name],
            size=SIZE,
            prefetch=sequential(),
            form=shapes,
        )
        walking: dict[str, tuple[int, str | None]] = {}
        for visitor in range(600):
            walking[f"visitor {visitor}"] = (chance.randrange(ROWS // 2), None)
            for client in chance.sample(sorted(walking), min(len(walking), 4)):
                since, cursor = walking[client]
                page = pager.page(after=cursor, client=client, values={"since": since})
                db.prefetch.wait()
                leaves = chance.random() < (0.7 if cursor is None else 0.05)
                if leaves or page.next is None:
                    del walking[client]
                else:
                    walking[client] = (since, page.next)
        stats = db.prefetch.stats()
        unresolved = stats.waiting
    print(f"\nwalks: {stats.demands} pages, {stats.sent} of them loaded ahead, hit ratio {stats.hit_ratio:.3f}")
    # What nobody has asked for by the end is taken for wasted, though some visitors are still reading.
    precision = stats.used / max(1, stats.used + stats.wasted + unresolved)
    waste = (stats.wasted + unresolved) / stats.demands
    kept = told("precision of sequential", precision, ".3f", ">= 0.85", precision >= 0.85)
    return told("wasted statements a demand", waste, ".3f", "<= 0.10", waste <= 0.10) and kept


def trace(url: URL, visits: Sequence[Visit]) -> bool:
    """Replay requests without and with prediction."""
    plain, _ = replay(url, visits, ())
    ahead, sent = replay(url, visits, (predictive(),))
    print(f"\ntrace: {len(visits)} requests for {len({visit.url for visit in visits})} pages")
    print(f"  hit ratio without prefetch {plain.hit_ratio:.3f}, with {ahead.hit_ratio:.3f}; precision {ahead.precision:.2f}")
    gain = (ahead.hit_ratio - plain.hit_ratio) * 100
    extra = ahead.sent / len(visits)
    more = (sent - (plain.demands - plain.hits)) / len(visits)
    kept = told("points of hit ratio gained", gain, ".1f", ">= 5", gain >= 5)
    kept = told("statements ahead a request", extra, ".3f", "<= 0.20", extra <= 0.20) and kept
    return told("statements more than without, a request", more, ".3f", "<= 0.20", more <= 0.20) and kept


def nothing(url: URL, _: Sequence[Visit]) -> bool:
    """Ask for what nobody has asked for before."""
    chance = random.Random(2)
    visits = [Visit(number * 3.0, f"client {chance.randrange(200)}", f"/{number}") for number in range(5000)]
    stats, _sent = replay(url, visits, (predictive(), sequential()))
    with Database(url, pool=POOL, cache=MemoryCache()) as db:
        db.pool.warm_up("10s")
        pager = db.pager(select(User), prefetch=[spatial(), predictive()])
        for key in chance.sample(range(1, ROWS), 5000):
            pager.get(key, client=chance.randrange(200))
            db.prefetch.wait()
        keys = db.prefetch.stats()
    print("\nwhere nothing repeats: 5000 pages, and 5000 objects by key")
    kept = told("statements ahead a page", stats.sent / stats.demands, ".4f", "<= 0.01", stats.sent / stats.demands <= 0.01)
    return (
        told("statements ahead an object", keys.sent / keys.demands, ".4f", "<= 0.01", keys.sent / keys.demands <= 0.01)
        and kept
    )


def replay(url: URL, visits: Sequence[Visit], strategies: Sequence[Strategy]) -> tuple[PrefetchStats, int]:
    """Ask for each page on the trace's own clock; return the numbers, and all statements for pages."""
    now = [visits[0].at]

    def clock() -> float:
        return now[0]

    with Database(url, pool=POOL, cache=MemoryCache(max_entries=500, ttl="300s", jitter=0)) as db:
        memory.monotonic = cache.monotonic = clock  # type: ignore[attr-defined, assignment]
        db.prefetch.clock = clock
        db.pool.warm_up("10s")
        pager = db.pager(
            select(Document).where(Document.url == bindparam("url")),
            size=1,
            prefetch=list(strategies),
            form=shapes,
        )
        for visit in visits:
            now[0] = visit.at
            pager.page(values={"url": visit.url}, client=visit.client)
            db.prefetch.wait()
        stats = db.prefetch.stats()
    memory.monotonic = cache.monotonic = time.monotonic  # type: ignore[attr-defined]
    return stats, stats.demands - stats.hits + stats.sent


def read(path: Path) -> list[Visit]:
    """Read a log: successful GETs of pages, without the pictures on them."""
    lines = path.read_text(encoding="latin-1").splitlines()
    columns = {name: place for place, name in enumerate(lines[0].split("\t"))}
    found = []
    for line in lines[1:]:
        parts = line.split("\t")
        if (
            len(parts) < len(columns) - 2
            or parts[columns["method"]] != "GET"
            or parts[columns["response"]] not in {"200", "304"}
        ):
            continue
        page = parts[columns["url"]]
        if not re.search(r"\.(gif|jpe?g|xbm|mpg|wav|bmp|tif|mov)$", page, re.IGNORECASE):
            found.append(Visit(float(parts[columns["time"]]), parts[columns["host"]], page))
    return sorted(found, key=lambda visit: visit.at)


def generated() -> Iterator[Visit]:
    """Make visitors of a site whose pages are as unequally popular as a web server's, and lead to four others each.

    Pages and links are drawn by Zipf's law; of four links the first is taken six times out of ten; a visitor leaves after
    four pages in the mean. It repeats itself about as much as the logs do: fewer repetitions leave less to predict.
    """
    chance = random.Random(3)
    pages = [f"/page/{number}" for number in range(1500)]
    popularity = list(accumulate(1 / (rank + 1) for rank in range(len(pages))))
    leads = {page: chance.choices(pages, cum_weights=popularity, k=4) for page in pages}
    at = 0.0
    visitors: list[tuple[str, str]] = []
    for number in range(6000):
        at += chance.expovariate(1 / 8)
        if not visitors or chance.random() < 0.3:
            visitors.append((f"client {number}", chance.choices(pages, cum_weights=popularity)[0]))
        place = chance.randrange(len(visitors))
        client, page = visitors[place]
        yield Visit(at, client, page)
        if chance.random() < 0.25:
            visitors.pop(place)
        else:
            visitors[place] = (client, chance.choices(leads[page], weights=[6, 2, 1, 1])[0])


SECTIONS: dict[str, Callable[[URL, Sequence[Visit]], bool]] = {
    "speed": speed,
    "walks": walks,
    "trace": trace,
    "nothing": nothing,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=list(SECTIONS))
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--requests", type=int, help="how many of the trace's requests, the first; by default all")
    given = parser.parse_args()
    visits = (read(given.trace) if given.trace is not None else list(generated()))[: given.requests]
    with EmbeddedServer() as server:
        url = server.url()
        fill(url, visits)
        kept = [SECTIONS[name](url, visits) for name in given.sections]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
