"""Walking pages with and without prefetch: times and hit ratio side by side."""

from __future__ import annotations

import secrets
import statistics
import time
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table
from sqlalchemy import bindparam, select

from dal.config import CursorConfig, PoolConfig
from dal.database import Database
from dal.demo.models import Flight
from dal.demo.stage import Chapter, Stage
from dal.loading import eager
from dal.prefetch import Pager, sequential

__all__ = ["CHAPTER"]

SIZE, PAGES, VISITORS = 50, 12, 10
THINKING = 0.03


@dataclass
class Walked:
    """What visitors met under one of the two ways."""

    name: str
    db: Database
    pager: Pager[Flight]
    milliseconds: list[float] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)


def _tell(stage: Stage) -> None:
    cursors = CursorConfig(keys=[secrets.token_hex(16)])
    pool = PoolConfig(min_pool_size=3, max_pool_size=5)
    with (
        Database(stage.db.url, pool=pool, cursors=cursors) as plain,
        Database(stage.db.url, pool=pool, cursors=cursors) as ahead,
    ):
        ways = (
            Walked("without prefetch", plain, _pager(plain, prefetch=False)),
            Walked("prefetch=sequential()", ahead, _pager(ahead, prefetch=True)),
        )
        for visitor in range(VISITORS):
            for way in ways:  # side by side, so that a slow moment of the machine meets both
                _walk(way, visitor)
        if ways[0].seen != ways[1].seen:
            raise RuntimeError("the two ways showed different flights")
        ahead.prefetch.wait()
        _print(stage, ways)


def _pager(db: Database, *, prefetch: bool) -> Pager[Flight]:
    return db.pager(
        select(Flight).where(Flight.month == 7, Flight.day == bindparam("day")),
        order_by=[Flight.time_hour],
        size=SIZE,
        policy=eager(Flight.airline, Flight.plane),
        prefetch=sequential() if prefetch else None,
    )


def _walk(way: Walked, visitor: int) -> None:
    """One visitor reads the departures of a day, page by page, and looks at each for a moment."""
    cursor = None
    for _ in range(PAGES):
        started = time.perf_counter()
        page = way.pager.page(after=cursor, client=visitor, values={"day": visitor + 1})
        way.milliseconds.append((time.perf_counter() - started) * 1000)
        way.seen += [flight.id for flight in page.items]
        cursor = page.next
        time.sleep(THINKING)


def _print(stage: Stage, ways: tuple[Walked, ...]) -> None:
    console = stage.console
    table = Table(
        title=f"{VISITORS} visitors read {PAGES} pages each of {SIZE} flights with airline and plane", title_justify="left"
    )
    table.add_column("")
    for name in ("hit ratio", "median ms", "slowest of 20", "pages"):
        table.add_column(name, justify="right", no_wrap=True)
    for way in ways:
        times = sorted(way.milliseconds)
        table.add_row(
            escape(way.name),
            f"{way.db.prefetch.stats().hit_ratio:.2f}",
            f"{statistics.median(times):.2f}",
            f"{times[int(len(times) * 0.95)]:.2f}",
            str(len(times)),
        )
    console.print(table)
    stats = ways[1].db.prefetch.stats()
    console.print(
        f"[dim]{stats.sent} pages were loaded ahead: {stats.used} asked for, {stats.wasted} for nothing, "
        f"{stats.waiting} still waiting to be asked for[/]"
    )
    console.print("[dim]both ways showed the same flights. db.prefetch.explain() says of each page why, such as:[/]")
    told = next(each for each in reversed(ways[1].db.prefetch.explain()) if each.outcome == "used")
    console.print(f"[dim]{escape(told.why)}: {told.outcome}[/]")


CHAPTER = Chapter("Walking pages, with the next one already there", _tell)
