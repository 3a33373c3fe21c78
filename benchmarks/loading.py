"""Loading policies beside SQLAlchemy's own loader options: ratios of paired rounds in one run, on PostgreSQL.

Peers: SQLAlchemy's lazy loading, hand-written `selectinload()`, `joinedload()` and `subqueryload()`, over the same rows.
Run it with `python benchmarks/loading.py [collections|references|expired ...]`; it starts its own server.
Each section goes through its variants in turn, many rounds, and compares medians; the limits beside the figures are the
ones the project sets itself. On a busy machine repeat it.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import URL, Engine, ForeignKey, create_engine, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
    subqueryload,
)

from dal.embedded import EmbeddedServer
from dal.loading import batched, eager

PARENTS, CHILDREN = 1000, 5

Work = Callable[[Session], Any]


class Base(DeclarativeBase): ...


class Parent(Base):
    __tablename__ = "parents"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    plan: Mapped[str]
    active: Mapped[bool]
    children: Mapped[list[Child]] = relationship(back_populates="parent")


class Child(Base):
    __tablename__ = "children"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("parents.id"), index=True)
    name: Mapped[str]
    number: Mapped[int]
    parent: Mapped[Parent] = relationship(back_populates="children")


def fill(url: URL) -> None:
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        parents = [
            {"id": number, "name": f"parent {number}", "email": f"{number}@example.org", "plan": "free", "active": True}
            for number in range(1, PARENTS + 1)
        ]
        connection.execute(Parent.__table__.insert(), parents)  # type: ignore[attr-defined]
        children = [
            {"parent_id": number, "name": f"child {each}", "number": each}
            for number in range(1, PARENTS + 1)
            for each in range(CHILDREN)
        ]
        connection.execute(Child.__table__.insert(), children)  # type: ignore[attr-defined]
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()


def paired(engine: Engine, works: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Run the variants in turn and in changing order, each in a session of its own; return milliseconds by round."""
    names = list(works)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 2):
        names = names[1:] + names[:1]
        for name in names:
            with Session(engine) as session:
                gc.collect()
                started = time.perf_counter()
                works[name](session)
                if number >= 2:
                    taken[name].append((time.perf_counter() - started) * 1000)
    return taken


def told(title: str, taken: Mapping[str, list[float]], base: str, limits: Mapping[str, float]) -> bool:
    """Print the table of a section; a ratio is the median of the ratios of the rounds."""
    medians = {name: statistics.median(times) for name, times in taken.items()}
    ratios = {
        name: statistics.median(one / other for one, other in zip(times, taken[base], strict=True))
        for name, times in taken.items()
    }
    return table(title, medians, ratios, base, limits)


def table(
    title: str, milliseconds: Mapping[str, float], ratios: Mapping[str, float], base: str, limits: Mapping[str, float]
) -> bool:
    print(f"\n{title}\n  {'':30} {'ms':>10} {'x ' + base:>24} {'limit':>8}")
    for name, ratio in ratios.items():
        limit = limits.get(name)
        verdict = "" if limit is None else f"{limit:8.2f} {'ok' if ratio <= limit else 'MISSED'}"
        print(f"  {name:30} {milliseconds[name]:10.3f} {ratio:24.3f} {verdict}")
    return all(ratios[name] <= limit for name, limit in limits.items())


def walk(*options: Any) -> Work:
    def work(session: Session) -> int:
        parents = session.scalars(select(Parent).options(*options)).unique().all()
        return sum(len(parent.children) for parent in parents)

    return work


def up(*options: Any) -> Work:
    def work(session: Session) -> int:
        return sum(len(child.parent.name) for child in session.scalars(select(Child).options(*options)).all())

    return work


def collections(engine: Engine, _: URL) -> bool:
    works = {
        "lazy (SQLAlchemy)": walk(),
        "selectinload": walk(selectinload(Parent.children)),
        "joinedload": walk(joinedload(Parent.children)),
        "subqueryload": walk(subqueryload(Parent.children)),
        "batched()": walk(batched()),
        "eager()": walk(eager(Parent.children)),
    }
    title = f"one to many: {PARENTS} parents x {CHILDREN}"
    return told(title, paired(engine, works, 15), "selectinload", {"batched()": 1.15})


def references(engine: Engine, _: URL) -> bool:
    works = {
        "lazy (SQLAlchemy)": up(),
        "selectinload": up(selectinload(Child.parent)),
        "joinedload": up(joinedload(Child.parent)),
        "batched()": up(batched()),
        "eager()": up(eager(Child.parent)),
    }
    title = f"many to one: {PARENTS * CHILDREN} children -> {PARENTS}"
    return told(title, paired(engine, works, 15), "selectinload", {"batched()": 1.15})


def expired(engine: Engine, _: URL) -> bool:
    """Touch 1,000 objects after a commit."""

    def touching(*options: Any) -> Callable[[], float]:
        def measure() -> float:
            with Session(engine) as session:
                parents = session.scalars(select(Parent).options(*options)).all()
                session.commit()
                gc.collect()
                started = time.perf_counter()
                assert sum(len(parent.name) for parent in parents) > 0
                return (time.perf_counter() - started) * 1000

        return measure

    stock, ours = touching(), touching(batched())
    ours()
    rounds = [(stock(), ours()) for _ in range(9)]
    taken = {"lazy (SQLAlchemy)": [each for each, _ in rounds], "batched()": [each for _, each in rounds]}
    return told(f"{PARENTS} objects touched after a commit", taken, "lazy (SQLAlchemy)", {"batched()": 0.1})


SECTIONS: dict[str, Callable[[Engine, URL], bool]] = {
    "collections": collections,
    "references": references,
    "expired": expired,
}


def main() -> int:
    chosen = sys.argv[1:] or list(SECTIONS)
    with EmbeddedServer() as server:
        url = server.url()
        fill(url)
        engine = create_engine(url)
        kept = [SECTIONS[name](engine, url) for name in chosen]
        engine.dispose()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main())
