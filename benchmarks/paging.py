"""Pages by keyset beside OFFSET and sqlakeyset: ratios of interleaved rounds in one run, on PostgreSQL with 2,000,000 rows.

Peers: LIMIT/OFFSET, and sqlakeyset (`pip install 'dal[bench]'`), which loses rows whose key is NULL: that is shown first.
Run it with `python benchmarks/paging.py [lost|depth|nulls|mixed|totals|cursors|overhead ...]`; it starts its own server.
`--rows 200000` makes it quick. A page is 50 rows of columns, so that the database is measured and not the making of objects;
`overhead` measures that. The limits beside the figures are the ones the project sets itself.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import URL, Engine, Index, create_engine, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dal import CursorConfig
from dal.embedded import EmbeddedServer
from dal.paging import Position, Signer, get_page, plan, read

CONFIG = CursorConfig(keys=["the key of this benchmark"])
SIZE = 50

Work = Callable[[Session], Any]


class Base(DeclarativeBase): ...


class Event(Base):
    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int]
    score: Mapped[int | None]
    level: Mapped[int]
    kind: Mapped[int]


Index("events_at", Event.at.desc(), Event.id.desc())
Index("events_score", Event.score, Event.id)
Index("events_level", Event.level, Event.id)
Index("events_kind", Event.kind.desc(), Event.id)


class Small(Base):
    __tablename__ = "small"

    id: Mapped[int] = mapped_column(primary_key=True)
    score: Mapped[int | None]


def fill(engine: Engine, rows: int) -> None:
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO events (id, at, score, level, kind) SELECT n, n / 2, CASE WHEN n % 7 = 0 THEN NULL ELSE n / 3 END,"
                " n / 3, n % 3 FROM generate_series(1, :rows) n"
            ),
            {"rows": rows},
        )
        connection.execute(insert(Small), [{"id": n, "score": None if n % 4 == 0 else n % 5} for n in range(1, 41)])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def paired(engine: Engine, works: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Run the variants in turn and in changing order on one warm connection; return milliseconds by round."""
    names = list(works)
    taken: dict[str, list[float]] = {name: [] for name in names}
    with Session(engine, info=CONFIG.info()) as session:
        for number in range(rounds + 3):
            names = names[1:] + names[:1]
            for name in names:
                started = time.perf_counter()
                works[name](session)
                if number >= 3:
                    taken[name].append((time.perf_counter() - started) * 1000)
    return taken


def table(title: str, taken: Mapping[str, list[float]], base: str, limits: Mapping[str, float]) -> bool:
    """Print the table of a section; a ratio is the median of the ratios of the rounds."""
    ratios = {
        name: statistics.median(one / other for one, other in zip(times, taken[base], strict=True))
        for name, times in taken.items()
    }
    print(f"\n{title}\n  {'':44} {'ms':>10} {'x ' + base:>26} {'limit':>8}")
    for name, ratio in ratios.items():
        limit = limits.get(name)
        verdict = "" if limit is None else f"{limit:8.2f} {'ok' if ratio <= limit else 'MISSED'}"
        print(f"  {name:44} {statistics.median(taken[name]):10.3f} {ratio:26.2f} {verdict}")
    return all(ratios[name] <= limit for name, limit in limits.items())


def column(title: str, found: Mapping[str, tuple[float, str, float | None]]) -> bool:
    """Print figures that are not ratios."""
    print(f"\n{title}\n  {'':44} {'':>10} {'':>8} {'limit':>8}")
    for name, (value, unit, limit) in found.items():
        verdict = "" if limit is None else f"{limit:8.2f} {'ok' if value <= limit else 'MISSED'}"
        print(f"  {name:44} {value:10.3f} {unit:>8} {verdict}")
    return all(limit is None or value <= limit for value, _, limit in found.values())


def seek(engine: Engine, order: list[Any], *values: Any) -> Work:
    statement = select(Event.id, Event.at)
    position = Position(values) if values else None

    def work(session: Session) -> Any:
        return read(session, plan(statement, order_by=order, dialect=engine.dialect), SIZE, after=position)

    return work


def offset(order: list[Any], depth: int) -> Work:
    statement = select(Event.id, Event.at).order_by(*order).limit(SIZE + 1).offset(depth)
    return lambda session: session.execute(statement).all()


def lost(engine: Engine, _: int) -> bool:
    """Walk 40 rows, 10 of them with a NULL in the key, in pages of 7."""
    from sqlakeyset import select_page

    with Session(engine, info=CONFIG.info()) as session:
        ours: list[int] = []
        page = get_page(session, select(Small), order_by=[Small.score], size=7)
        while True:
            ours += [each.id for each in page]
            if page.next is None:
                break
            page = get_page(session, select(Small), order_by=[Small.score], size=7, after=page.next)
        theirs: list[int] = []
        other = select_page(session, select(Small).order_by(Small.score, Small.id), per_page=7)
        while True:
            theirs += [row[0].id for row in other]
            if not other.paging.has_next:
                break
            other = select_page(
                session, select(Small).order_by(Small.score, Small.id), per_page=7, page=other.paging.bookmark_next
            )
    found = {
        "dal": (float(40 - len(set(ours))), "lost", 0.0),
        "dal, seen twice": (float(len(ours) - len(set(ours))), "twice", 0.0),
        "sqlakeyset": (float(40 - len(set(theirs))), "lost", None),
    }
    return column("rows lost of 40, 10 of which have a NULL in the order", found)


def depth(engine: Engine, rows: int) -> bool:
    order = [Event.at.desc()]
    deep = rows // 2
    works = {
        "page 1": seek(engine, order),
        f"at row {deep:,}": seek(engine, order, deep // 2, deep),
        f"at row {rows - 100:,}": seek(engine, order, 50, 100),
        f"OFFSET {deep:,}": offset([*order, Event.id.desc()], deep),
    }
    title = f"a page of {SIZE} of {rows:,} rows, by depth"
    return table(title, paired(engine, works, 41), "page 1", {f"at row {deep:,}": 1.5, f"at row {rows - 100:,}": 1.5})


def nulls(engine: Engine, rows: int) -> bool:
    middle = rows // 6
    works = {
        "NOT NULL": seek(engine, [Event.level], middle, rows // 2),
        "nullable": seek(engine, [Event.score], middle, rows // 2),
        "nullable, among the NULLs": seek(engine, [Event.score], None, rows // 2),
        "nullable DESC, NULLs first": seek(engine, [Event.score.desc()], middle, rows // 2),
        "score > ? OR score IS NULL": either(middle, rows // 2),
    }
    limits = {"nullable": 2.0, "nullable, among the NULLs": 2.0, "nullable DESC, NULLs first": 2.0}
    return table("a key that may be NULL", paired(engine, works, 41), "NOT NULL", limits)


def either(score: int, number: int) -> Work:
    """Write the seek as it is usually written."""
    beyond = (Event.score > score) | ((Event.score == score) & (Event.id > number)) | Event.score.is_(None)
    statement = select(Event.id, Event.at).where(beyond).order_by(Event.score, Event.id).limit(SIZE + 1)
    return lambda session: session.execute(statement).all()


def mixed(engine: Engine, rows: int) -> bool:
    """Seek inside a tie of a third of the rows, in mixed directions."""
    kind, number = 1, rows // 2
    and_or = (Event.kind <= kind) & ((Event.kind < kind) | (Event.id > number))
    statement = select(Event.id, Event.at).where(and_or).order_by(Event.kind.desc(), Event.id).limit(SIZE + 1)
    works = {
        "page 1": seek(engine, [Event.kind.desc(), Event.id]),
        "inside a long tie": seek(engine, [Event.kind.desc(), Event.id], kind, number),
        "the same with AND and OR": lambda session: session.execute(statement).all(),
    }
    return table("mixed directions, a long tie", paired(engine, works, 21), "page 1", {"inside a long tie": 2.0})


def totals(engine: Engine, _: int) -> bool:
    from dal.paging import count

    planned = plan(select(Event), order_by=[Event.at.desc()], dialect=engine.dialect)
    filtered = plan(select(Event).where(Event.kind == 1), order_by=[Event.at.desc()], dialect=engine.dialect)
    works: dict[str, Work] = {
        "exact": lambda session: count(session, planned, "exact"),
        "bounded": lambda session: count(session, planned, "bounded"),
        "bounded, filtered": lambda session: count(session, filtered, "bounded"),
        "estimate": lambda session: count(session, filtered, "estimate"),
    }
    taken = paired(engine, works, 15)
    limits = {"bounded": 5.0, "bounded, filtered": 5.0, "estimate": 5.0}
    return column("totals", {name: (statistics.median(times), "ms", limits.get(name)) for name, times in taken.items()})


def cursors(_: Engine, __: int) -> bool:
    signer = Signer(CONFIG)
    position = Position((1_000_000, "a name of somebody", None, 77))
    query = b"twelve bytes"
    cursor = signer.sign(position, query=query)
    found = {}
    for name, call, limit in (
        ("sign", lambda: signer.sign(position, query=query), None),
        ("verify", lambda: signer.verify(cursor, query=query), 20.0),
        ("verify, with an owner", lambda: refused(signer, cursor, query), 20.0),
    ):
        rounds = []
        for _round in range(15):
            started = time.process_time()
            for _each in range(2000):
                call()
            rounds.append((time.process_time() - started) / 2000 * 1e6)
        found[name] = (statistics.median(rounds), "us", limit)
    return column(f"cursors of {len(cursor)} characters (CPU time)", found)


def refused(signer: Signer, cursor: str, query: bytes) -> None:
    from dal import CursorError

    try:
        signer.verify(cursor, query=query, owner="tenant 7")
    except CursorError:
        return
    raise AssertionError("the cursor has no owner")


def overhead(engine: Engine, rows: int) -> bool:
    """Compare a whole call, cursors verified and signed, with the bare SELECT of its rows."""
    order = [Event.at.desc()]
    statement = select(Event)
    with Session(engine, info=CONFIG.info()) as session:
        cursor = get_page(session, statement, order_by=order, size=SIZE).next
    bare = select(Event).where(Event.at < rows // 4).order_by(Event.at.desc(), Event.id.desc()).limit(SIZE + 1)
    works: dict[str, Work] = {
        "a SELECT by hand": lambda session: session.scalars(bare).all(),
        "get_page()": lambda session: get_page(session, select(Event), order_by=[Event.at.desc()], size=SIZE, after=cursor),
    }
    return table("a page of objects, end to end", paired(engine, works, 101), "a SELECT by hand", {})


SECTIONS: dict[str, Callable[[Engine, int], bool]] = {
    "lost": lost,
    "depth": depth,
    "nulls": nulls,
    "mixed": mixed,
    "totals": totals,
    "cursors": cursors,
    "overhead": overhead,
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("sections", nargs="*", help="all by default")
    parser.add_argument("--rows", type=int, default=2_000_000)
    given = parser.parse_args()
    with EmbeddedServer() as server:
        url: URL = server.url()
        engine = create_engine(url)
        fill(engine, given.rows)
        kept = [SECTIONS[name](engine, given.rows) for name in given.sections or SECTIONS]
        engine.dispose()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main())
