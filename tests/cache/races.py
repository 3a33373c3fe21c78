"""The race harness: several real processes write and read the same rows through their caches, and what is left is compared.

Writers change rows by the ORM, by Core and by text, and roll some back after they wrote -1, which nobody may ever see. Readers
keep rows with a pause between reading and keeping. When the writers stop, every process compares all that is kept with the
database. The processes stay for all runs.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dal import Database, MemoryCache, PoolConfig, RedisCache, TieredCache
from dal.cache.guard import Guard

__all__ = ["Outcome", "race"]

KEYS = 40
_POOL = PoolConfig(min_pool_size=1, max_pool_size=4)
_PATIENCE = 5.0


class Base(DeclarativeBase):
    pass


class Counter(Base):
    __tablename__ = "counters"

    id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(default=0)


@dataclass
class Outcome:
    """What came of some runs.

    Attributes:
        runs: How many.
        stale: Values that stayed different from the database.
        uncommitted: Values that nobody ever committed.
        errors: What was raised.
        writes: Transactions that were committed.
        reads: Values that were read.
        hits: Of these, without a query.
        refused: Values not kept because a write came in between.
    """

    runs: int = 0
    stale: int = 0
    uncommitted: int = 0
    errors: list[str] = field(default_factory=list)
    writes: int = 0
    reads: int = 0
    hits: int = 0
    refused: int = 0


def race(
    url: URL,
    *,
    redis: str | None,
    runs: int,
    seconds: float = 1.0,
    writers: int = 2,
    readers: int = 2,
    guarded: bool = True,
) -> Outcome:
    """Let them race.

    Args:
        url: An empty database.
        redis: The URL of a Redis behind the caches, or None.
        runs: How often.
        seconds: How long the writers write in each run.
        writers: How many processes write (and read).
        readers: How many only read.
        guarded: Whether the guard is asked; without it the harness has something to find.

    Returns:
        What came of it.
    """
    with Database(url) as db:
        Base.metadata.create_all(db.engine)
        db.run(lambda session: session.add_all(Counter(id=number) for number in range(KEYS)))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    barrier, results = context.Barrier(writers + readers), context.Queue()
    shown = url.render_as_string(hide_password=False)
    processes = [
        context.Process(target=_work, args=(shown, redis, runs, seconds, number < writers, guarded, number, barrier, results))
        for number in range(writers + readers)
    ]
    for process in processes:
        process.start()
    outcome = Outcome(runs=runs)
    for _ in processes:
        found = results.get(timeout=runs * (seconds + 30) + 120)
        for name in ("stale", "uncommitted", "writes", "reads", "hits", "refused"):
            setattr(outcome, name, getattr(outcome, name) + getattr(found, name))
        outcome.errors += found.errors
    for process in processes:
        process.join(30)
    return outcome


def _work(
    url: str, redis: str | None, runs: int, seconds: float, writes: bool, guarded: bool, seed: int, barrier: Any, results: Any
) -> None:
    outcome, chance = Outcome(), random.Random(seed)
    if not guarded:
        Guard.admits = Guard.admits_foreign = lambda *asked: True  # type: ignore[assignment, method-assign]
    cache: Any = MemoryCache() if redis is None else TieredCache(MemoryCache(), RedisCache(redis, prefix="races"))
    try:
        with Database(make_url(url), pool=_POOL, cache=cache) as db:
            db.cache.fetch("warm", lambda session: session.get(Counter, 0))
            for _ in range(runs):
                barrier.wait(60)
                _race(db, outcome, chance, seconds, writes)
                barrier.wait(60)
                _compare(db, outcome)
            stats = db.cache.stats()
            outcome.hits, outcome.refused = stats.hits + stats.shared_hits, stats.refused
            barrier.wait(60)
    except Exception as error:
        barrier.abort()
        outcome.errors.append(repr(error))
    results.put(outcome)


def _race(db: Database, outcome: Outcome, chance: random.Random, seconds: float, writes: bool) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        key = chance.randrange(KEYS)
        if writes and chance.random() < 0.5:
            outcome.writes += _write(db, key, chance)
        if chance.random() < 0.01:
            db.cache.forget(key)
        outcome.uncommitted += _read(db, key, chance.random() * 0.006) < 0
        outcome.reads += 1


def _write(db: Database, key: int, chance: random.Random) -> bool:
    way = chance.randrange(5)
    with db.session() as session:
        if way == 0:
            session.get_one(Counter, key, with_for_update=True).value += 1
        elif way == 1:
            session.execute(update(Counter).where(Counter.id == key).values(value=Counter.value + 1))
        elif way == 2:
            session.execute(text("UPDATE counters SET value = value + 1 WHERE id = :id"), {"id": key})
        elif way == 3:
            with session.begin_nested():
                session.execute(update(Counter).where(Counter.id == key).values(value=Counter.value + 1))
        else:
            session.execute(update(Counter).where(Counter.id == key).values(value=-1))
            time.sleep(chance.random() * 0.003)
            session.rollback()
            return False
        time.sleep(chance.random() * 0.002)
        session.commit()
    return True


def _load(session: Session, key: int, pause: float) -> Counter:
    found = session.scalars(select(Counter).where(Counter.id == key)).one()
    time.sleep(pause)
    return found


def _read(db: Database, key: int, pause: float = 0.0) -> int:
    return db.cache.fetch(key, lambda session: _load(session, key, pause)).value


def _compare(db: Database, outcome: Outcome) -> None:
    """Compare all that is kept, and then what is found past memory, with the database; news may still be on their way."""
    with db.session() as session:
        true = {counter.id: counter.value for counter in session.scalars(select(Counter))}
    kept = _settled(lambda: {key: counter.value for key in true if (counter := db.cache.peek(key)) is not None}, true)

    def past_memory() -> dict[int, int]:
        for key in true:
            db.cache.forget(key)
        return {key: _read(db, key) for key in true}

    shared = _settled(past_memory, true)
    for found in (kept, shared):
        outcome.stale += sum(true[key] != value for key, value in found.items())
        outcome.uncommitted += sum(value < 0 for value in found.values())


def _settled(look: Callable[[], dict[int, int]], true: dict[int, int]) -> dict[int, int]:
    end = time.monotonic() + _PATIENCE
    while True:
        found = look()
        if all(true[key] == value for key, value in found.items()) or time.monotonic() > end:
            return found
        time.sleep(0.02)
