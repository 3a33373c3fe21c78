"""What the repository adds to the same call on the raw Session.

    python benchmarks/repository.py [--rounds 300]

Each row sets a repository call beside the Session call it stands for. A round runs both, in turn and in changing order,
and compares their CPU time; the figure is the median over the rounds, so that what else the machine does falls out.
The database is SQLite in memory: with no network and no server beside it, what is added weighs most.

Limits: a list of 100 rows at most 3 % more, a call for one row at most 15 microseconds more.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import process_time_ns

from sqlalchemy import create_engine, delete, func, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from dal.repository import Repository


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    name: Mapped[str]
    plan: Mapped[str]
    active: Mapped[bool]


class Users(Repository[User]):
    pass


@dataclass(frozen=True)
class Case:
    """A Session call, the repository call it stands for, and what the second may add: a share, or microseconds."""

    name: str
    raw: Callable[[], object]
    ours: Callable[[], object]
    share: float | None = None
    microseconds: float | None = None


def cases(session: Session) -> Iterator[Case]:
    users = Users(session)
    raw_list = lambda: session.scalars(select(User).where(User.active).order_by(User.id).limit(100)).all()  # noqa: E731
    yield Case("list of 100 rows", raw_list, lambda: users.list(User.active, order_by=User.id, limit=100), share=0.03)
    yield Case(
        "list of 100 rows, a select()",
        lambda: session.scalars(select(User).where(User.active).limit(100)).all(),
        lambda: users.list(select(User).where(User.active).limit(100)),
        share=0.03,
    )
    yield Case("get, held by the session", lambda: session.get(User, 7), lambda: users.get(7), microseconds=15)
    yield Case(
        "one",
        lambda: session.scalars(select(User).where(User.email == "u7").limit(2)).one(),
        lambda: users.one(User.email == "u7"),
        microseconds=15,
    )
    yield Case(
        "first",
        lambda: session.scalars(select(User).where(User.email == "u7").limit(1)).first(),
        lambda: users.first(User.email == "u7"),
        microseconds=15,
    )
    yield Case(
        "one, a new repository",
        lambda: session.scalars(select(User).where(User.email == "u7").limit(2)).one(),
        lambda: Users(session).one(User.email == "u7"),
        microseconds=15,
    )
    yield Case(
        "count",
        lambda: session.scalars(select(func.count()).select_from(User).where(User.email == "u7")).one(),
        lambda: users.count(User.email == "u7"),
        microseconds=15,
    )
    yield Case(
        "update of one row",
        lambda: session.execute(update(User).where(User.id == 7).values({User.plan: "x"})),
        lambda: users.update(User.id == 7, values={User.plan: "x"}),
        microseconds=15,
    )
    yield Case(
        "delete of no row",
        lambda: session.execute(delete(User).where(User.id == -1)),
        lambda: users.delete(User.id == -1),
        microseconds=15,
    )


def spent(call: Callable[[], object], times: int) -> int:
    """Return the CPU time of some calls, in nanoseconds."""
    start = process_time_ns()
    for _ in range(times):
        call()
    return process_time_ns() - start


def measure(case: Case, rounds: int, times: int) -> tuple[float, float]:
    """Return the median ratio of the two calls, and the median of what the second adds in microseconds a call."""
    spent(case.raw, times), spent(case.ours, times)
    ratios, added = [], []
    for number in range(rounds):
        first, second = (case.raw, case.ours) if number % 2 else (case.ours, case.raw)
        one, two = spent(first, times), spent(second, times)
        raw, ours = (one, two) if number % 2 else (two, one)
        ratios.append(ours / raw)
        added.append((ours - raw) / times / 1000)
    return statistics.median(ratios), statistics.median(added)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300, help="how often each pair is compared (default: 300)")
    parser.add_argument("--times", type=int, default=20, help="how many calls a round makes on each side (default: 20)")
    options = parser.parse_args()
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    missed = 0
    with Session(engine) as session:
        people = [User(id=n, email=f"u{n}", name=f"name {n}", plan="free", active=True) for n in range(1, 201)]
        session.add_all(people)
        session.flush()
        gc.freeze()
        print(f"{'call':32}{'ratio':>8}{'added':>12}{'limit':>12}")
        for case in cases(session):
            ratio, added = measure(case, options.rounds, options.times)
            kept = added <= case.microseconds if case.microseconds is not None else ratio <= 1 + (case.share or 0)
            limit = f"{case.microseconds:.0f} us" if case.microseconds is not None else f"{case.share:.0%}"
            print(f"{case.name:32}{ratio:8.3f}{added:9.1f} us{limit:>12}{'' if kept else '   OVER THE LIMIT'}")
            missed += not kept
    engine.dispose()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
