"""The cache beside its peers and beside the database: ratios of interleaved rounds in one run, on PostgreSQL.

Peers: dogpile.cache's memory backend (sync) and cashews (async), from `dal[bench]`. Run it with
`python benchmarks/cache.py [hit|flights|memory|page|heard|writers ...]`; it starts its own server. Each section prints its
figures with the limits that the project sets itself. On a busy machine repeat it.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ForeignKey, event, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship, selectinload

from dal import AsyncDatabase, Database, MemoryCache, PoolConfig
from dal.cache import copies, dictionaries, shapes
from dal.embedded import EmbeddedServer

ROWS, CHILDREN, PAGE = 2000, 3, 50
POOL = PoolConfig(min_pool_size=1, max_pool_size=8)


class Base(DeclarativeBase): ...


class Parent(Base):
    __tablename__ = "parents"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    plan: Mapped[str]
    active: Mapped[bool]
    children: Mapped[list[Child]] = relationship(back_populates="parent", order_by="Child.id")


class Child(Base):
    __tablename__ = "children"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("parents.id"), index=True)
    name: Mapped[str]
    number: Mapped[int]
    parent: Mapped[Parent] = relationship(back_populates="children")


def fill(db: Database) -> None:
    Base.metadata.create_all(db.engine)
    with db.engine.begin() as connection:
        parents = [
            {"id": number, "name": f"parent {number}", "email": f"{number}@example.org", "plan": "free", "active": True}
            for number in range(1, ROWS + 1)
        ]
        connection.execute(Parent.__table__.insert(), parents)  # type: ignore[attr-defined]
        children = [
            {"parent_id": number, "name": f"child {each}", "number": each}
            for number in range(1, ROWS + 1)
            for each in range(CHILDREN)
        ]
        connection.execute(Child.__table__.insert(), children)  # type: ignore[attr-defined]


def verdict(name: str, figure: float, unit: str, limit: float | None, *, at_least: bool = False) -> bool:
    """Print a line, and tell whether it keeps its limit."""
    met = limit is None or (figure >= limit if at_least else figure <= limit)
    sign = "" if limit is None else f"{'>=' if at_least else '<='} {limit:g} {'ok' if met else 'MISSED'}"
    print(f"  {name:58} {figure:12.3f} {unit:6} {sign}")
    return met


def interleaved(works: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Run the variants in turn and in changing order; return seconds by round."""
    names = list(works)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 2):
        names = names[1:] + names[:1]
        for name in names:
            gc.collect()
            began = time.perf_counter()
            works[name]()
            if number >= 2:
                taken[name].append(time.perf_counter() - began)
    return taken


def hit(db: Database) -> bool:
    """One value that is there, again and again."""
    from cashews import Cache as Cashews
    from dogpile.cache import make_region

    number = 20_000
    region = make_region().configure("dogpile.cache.memory")
    region.set("key", "value")
    db.cache.fetch("key", lambda session: "value")

    def repeated(call: Callable[[], Any]) -> Callable[[], None]:
        def work() -> None:
            for _ in range(number):
                call()

        return work

    load = lambda session: "value"  # noqa: E731
    taken = interleaved(
        {
            "dal, fetch": repeated(lambda: db.cache.fetch("key", load)),
            "dal, peek": repeated(lambda: db.cache.peek("key")),
            "dogpile.cache, get": repeated(lambda: region.get("key")),
            "dogpile.cache, get_or_create": repeated(lambda: region.get_or_create("key", lambda: "value")),
        },
        9,
    )

    async def tasks() -> dict[str, list[float]]:
        cashews = Cashews()
        cashews.setup("mem://")
        await cashews.set("key", "value")
        found: dict[str, list[float]] = {"dal, await fetch": [], "cashews, await get": []}
        async with AsyncDatabase(db.url, pool=POOL, cache=MemoryCache()) as other:
            await other.cache.fetch("key", load)
            for _ in range(9):
                began = time.perf_counter()
                for _ in range(number):
                    await other.cache.fetch("key", load)
                found["dal, await fetch"].append(time.perf_counter() - began)
                began = time.perf_counter()
                for _ in range(number):
                    await cashews.get("key")
                found["cashews, await get"].append(time.perf_counter() - began)
        return found

    taken.update(asyncio.run(tasks()))
    print("\na value that is there (least of 9 rounds)")
    limits = {"dal, fetch": 1.0, "dal, await fetch": 1.0}
    met = [verdict(name, min(times) / number * 1e6, "us", limits.get(name)) for name, times in taken.items()]
    return all(met)


@contextmanager
def counted(engine: Any) -> Iterator[list[str]]:
    """Note the statements of an engine."""
    seen: list[str] = []
    note = lambda connection, cursor, statement, *rest: seen.append(statement)  # noqa: E731
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def flights(db: Database) -> bool:
    """A thousand that miss at the same time."""

    def load(session: Session) -> Any:
        return session.scalars(select(Parent).order_by(Parent.id).limit(PAGE)).all()

    barrier = threading.Barrier(1000)

    def ask(_: int) -> int:
        barrier.wait()
        return len(db.cache.fetch("flight", load))

    with counted(db.engine) as threads, ThreadPoolExecutor(1000) as pool:
        assert set(pool.map(ask, range(1000))) == {PAGE}

    async def tasks() -> int:
        async with AsyncDatabase(db.url, pool=POOL, cache=MemoryCache()) as other:
            with counted(other.engine.sync_engine) as seen:
                found = await asyncio.gather(*(other.cache.fetch("flight", load) for _ in range(1000)))
                assert {len(each) for each in found} == {PAGE}
            return len(seen)

    print("\n1,000 callers miss at once")
    return all([verdict("threads", len(threads), "sent", 1), verdict("tasks", asyncio.run(tasks()), "sent", 1)])


def memory(db: Database) -> bool:
    """Pages until the cache is full, by what the interpreter says it has allocated."""
    print("\nmemory against its bound (pages of objects, rows, texts and shapes)")
    kept = []
    kinds: dict[str, Callable[[Session, int], Any]] = {
        "objects with a relationship": lambda session, page: session.scalars(
            select(Parent).options(selectinload(Parent.children)).where(Parent.id > page * 20).order_by(Parent.id).limit(20)
        ).all(),
        "rows": lambda session, page: session.execute(
            select(Parent.id, Parent.name, Parent.email).where(Parent.id > page).order_by(Parent.id).limit(PAGE)
        ).all(),
        "texts": lambda session, page: [f"{page} {each}" * 5 for each in range(20)],
        "small numbers": lambda session, page: page,
    }
    for name, load in kinds.items():
        kept.append(_filled(db, name, load, shapes if name.startswith("objects") else copies))
    return all(kept)


def _filled(db: Database, name: str, load: Callable[[Session, int], Any], form: Any) -> bool:
    bound = 1_500_000
    with Database(db.url, pool=POOL, cache=MemoryCache(max_bytes=bound)) as other:
        # Whatever is made once, for the first of its kind, is no part of the cache.
        other.cache.fetch("warm", lambda session: load(session, 0), form=form)
        other.cache.clear()
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        page = 0
        while other.cache.stats().evicted < 20:
            page += 1
            other.cache.fetch(("page", name, page), lambda session: load(session, page % 95), form=form)  # noqa: B023
        gc.collect()
        allocated = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return verdict(f"{name}: {other.cache.stats().entries} values", allocated / bound, "x", 1.05)


def page(db: Database) -> bool:
    """The next page: 50 rows with one relationship, as fresh ORM copies, and out of the cache in its three forms."""
    met = []
    for name, statement in {
        "to one, joined": select(Child).options(joinedload(Child.parent)).order_by(Child.id).limit(PAGE),
        "to many, selectin": select(Parent).options(selectinload(Parent.children)).order_by(Parent.id).limit(PAGE),
    }.items():

        def load(session: Session, statement: Any = statement) -> Any:
            return session.scalars(statement).unique().all()

        def from_database(load: Any = load) -> None:
            with db.session() as session:
                load(session)

        def out(form: Any, name: str = name, load: Any = load) -> Callable[[], Any]:
            return lambda: db.cache.fetch(name, load, form=form)

        out(shapes)()
        forms = {"copies": copies, "dictionaries": dictionaries, "shapes": shapes}
        taken = interleaved({"database": from_database, **{each: out(form) for each, form in forms.items()}}, 40)
        print(f"\na page of {PAGE} rows, {name}: times faster than the database")
        verdict("database", statistics.median(taken["database"]) * 1e3, "ms", None)
        for each, limit in (("copies", 5.0), ("dictionaries", None), ("shapes", 20.0)):
            pairs = zip(taken["database"], taken[each], strict=True)
            met.append(verdict(each, statistics.median(one / other for one, other in pairs), "x", limit, at_least=True))
    return all(met)


WRITER = """
import sys, time
from sqlalchemy import text
from dal import Database, MemoryCache
with Database(sys.argv[1], cache=MemoryCache()) as db:
    db.cache.fetch("warm", lambda session: 1)
    print("ready", flush=True); sys.stdin.readline()
    for value in range(1, int(sys.argv[2]) + 1):
        with db.transaction() as session:
            session.execute(text("UPDATE parents SET name = :value WHERE id = 1"), {"value": str(value)})
        print(value, time.monotonic(), flush=True)
        time.sleep(float(sys.argv[3]))
"""


def heard(db: Database) -> bool:
    """From the COMMIT of another process to the first read here that shows it."""
    met = []
    for title, pause, writes in (("one write in 50 ms", 0.05, 100), ("as many writes as it can", 0.0, 1500)):
        seen: dict[int, float] = {}
        load = lambda session: session.scalar(text("SELECT name FROM parents WHERE id = 1"))  # noqa: E731
        db.cache.fetch("heard", load)
        url = db.url.render_as_string(hide_password=False)
        command = [sys.executable, "-c", WRITER, url, str(writes), str(pause)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdin is not None
            writer.stdout.readline()
            done = threading.Event()

            def watch(seen: dict[int, float] = seen, done: threading.Event = done, load: Any = load) -> None:
                while not done.is_set():
                    value = db.cache.fetch("heard", load)
                    if value.isdigit():
                        seen.setdefault(int(value), time.monotonic())
                    time.sleep(0.0005)

            watcher = threading.Thread(target=watch)
            watcher.start()
            writer.stdin.write("go\n")
            writer.stdin.flush()
            told = [line.split() for line in writer.stdout]
            time.sleep(0.5)
            done.set()
            watcher.join()
        times = sorted(
            max(0.0, min(at for value, at in seen.items() if value >= int(number)) - float(committed)) * 1e3
            for number, committed in told
        )
        print(f"\nfrom COMMIT in one process to the read in another, {title}")
        met.append(verdict("p50", statistics.median(times), "ms", 25.0))
        verdict("p99", times[int(len(times) * 0.99)], "ms", None)
        db.run(lambda session: session.execute(update(Parent).where(Parent.id == 1).values(name="none")))
    return all(met)


def writers(db: Database) -> bool:
    """What writers lose: one-row transactions in four threads, with and without a cache that has something to spoil."""
    seconds, rounds = 0.7, 13

    def rate(target: Database) -> float:
        done = []
        end = time.monotonic() + seconds

        def work(number: int) -> None:
            count = 0
            while time.monotonic() < end:
                with target.session() as session:
                    statement = update(Parent).where(Parent.id == number + 2).values(plan="paid")
                    session.execute(statement, execution_options={"synchronize_session": False})
                    session.commit()
                count += 1
            done.append(count)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done) / seconds

    ratios, with_cache, without = [], [], []
    for number in range(rounds + 1):
        rates = {}
        for cached in (number % 2 == 0, number % 2 == 1):
            # Opened for each round: while a cache is open it finds every engine of its database.
            with Database(db.url, pool=POOL, cache=MemoryCache() if cached else None) as target:
                target.cache.fetch("key", lambda session: session.scalars(select(Parent).limit(5)).all())
                with target.session() as session:
                    session.scalar(select(Parent.id).limit(1))
                rates[cached] = rate(target)
        if number:
            ratios.append(rates[True] / rates[False])
            with_cache.append(rates[True])
            without.append(rates[False])
    print("\nwriters, four threads in one process")
    verdict("without a cache", statistics.median(without), "tps", None)
    verdict("with one", statistics.median(with_cache), "tps", None)
    return verdict("loss (median of the rounds' ratios)", (1 - statistics.median(ratios)) * 100, "%", 10.0)


SECTIONS = {"hit": hit, "flights": flights, "memory": memory, "page": page, "heard": heard, "writers": writers}


def main() -> int:
    chosen = sys.argv[1:] or list(SECTIONS)
    met = True
    with EmbeddedServer(".dal/bench-cache") as server:
        url = server.url()
        with Database(url, pool=POOL) as db:
            Base.metadata.drop_all(db.engine)
            fill(db)
        for name in chosen:
            # The writers' section opens its own databases, with and without a cache.
            with Database(url, pool=POOL, cache=None if name == "writers" else MemoryCache()) as db:
                met = SECTIONS[name](db) and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
