"""Parallel scans: how late each airline leaves, counted in Python by two processes that see the same snapshot."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from rich.table import Table
from sqlalchemy import func, select

from dal.demo.models import Airline, Flight
from dal.demo.stage import Chapter, Stage

__all__ = ["CHAPTER"]

Delays = dict[str, Counter[int]]

_WORKERS, _SHOWN = 2, 6
_FLOWN = select(Flight.carrier, Flight.dep_delay).where(Flight.dep_delay.is_not(None))


def count_delays(rows: list[Any]) -> Delays:
    """Count the delays of a part, by airline."""
    found: Delays = {}
    for row in rows:
        found.setdefault(row.carrier, Counter())[row.dep_delay] += 1
    return found


def merge(whole: Delays, part: Delays) -> Delays:
    """Put the counts of two parts together."""
    for carrier, delays in part.items():
        whole.setdefault(carrier, Counter()).update(delays)
    return whole


def quantile(delays: Counter[int], share: float) -> int:
    """Return the delay that so many flights do not exceed."""
    left = share * delays.total()
    for minutes in sorted(delays):
        left -= delays[minutes]
        if left <= 0:
            return minutes
    return max(delays)


def _tell(stage: Stage) -> None:
    parts: list[int] = []
    started = time.perf_counter()
    scan = stage.db.parallel(
        _FLOWN, by=Flight.id, workers=_WORKERS, processes=True, progress=lambda progress: parts.append(progress.parts)
    )
    found = scan.map(count_delays).reduce(merge)
    took = time.perf_counter() - started
    _compare(stage, found)
    rows = sum(delays.total() for delays in found.values())
    stage.console.print(_table(stage, found))
    stage.console.print(
        f"{rows:,} flights in {parts[-1]} parts of one snapshot, by {_WORKERS} processes: {took:.1f} s\n"
        "PostgreSQL counts the same flights and the same minutes for every airline"
    )


def _compare(stage: Stage, found: Delays) -> None:
    asked = select(Flight.carrier, func.count(Flight.dep_delay), func.sum(Flight.dep_delay)).group_by(Flight.carrier)
    with stage.db.session() as session:
        known = {carrier: (count, total) for carrier, count, total in session.execute(asked)}
    ours = {carrier: (delays.total(), sum(n * times for n, times in delays.items())) for carrier, delays in found.items()}
    if ours != known:
        raise RuntimeError("the parallel scan and PostgreSQL disagree")


def _table(stage: Stage, found: Delays) -> Table:
    with stage.db.session() as session:
        names = {airline.carrier: airline.name for airline in session.scalars(select(Airline))}
    table = Table("airline", *[f"{title:>8}" for title in ("flights", "median", "90 %", "99 %")], box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    largest = sorted(found.items(), key=lambda each: -each[1].total())[:_SHOWN]
    for carrier, delays in largest:
        late = [f"{quantile(delays, share)} min" for share in (0.5, 0.9, 0.99)]
        table.add_row(names[carrier], f"{delays.total():,}", *late)
    return table


CHAPTER = Chapter("How late each airline leaves, counted in parallel", _tell)
