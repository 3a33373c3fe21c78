"""Change streams: flights are written by many, and a count per airline is kept as they are committed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from dal.demo.models import Airline, Flight
from dal.demo.stage import Chapter, Stage
from dal.streams import Change, Threshold, avg_of, count_of

__all__ = ["CHAPTER"]

_WRITERS, _BATCHES, _FIRST = 2, 60, 10_000_000
_CARRIERS = ("UA", "B6", "EV", "DL", "AA")


def _departed(change: Change) -> bool:
    return change.kind == "insert"


_SAME = {
    "year": 2013, "month": 12, "day": 31, "sched_dep_time": 2359, "sched_arr_time": 359, "flight": 1, "origin": "JFK",
    "dest": "SFO", "distance": 2586, "hour": 23, "minute": 59, "time_hour": datetime(2014, 1, 1, 4, tzinfo=UTC),
}  # fmt: skip


def _flight(number: int) -> Flight:
    """Make a flight; half-way through, those of one airline begin to be late."""
    carrier = _CARRIERS[number % 7 % len(_CARRIERS)]
    late = carrier == "DL" and number > _WRITERS * _BATCHES * 5 // 2
    return Flight(id=_FIRST + number, carrier=carrier, dep_delay=90 if late else number % 20, **_SAME)


def _write(stage: Stage, writer: int) -> None:
    for batch in range(_BATCHES):
        start = (batch * _WRITERS + writer) * 5
        with stage.db.transaction() as session:
            session.add_all([_flight(start + each) for each in range(5)])
        time.sleep(0.02)


def _tell(stage: Stage) -> None:
    counts: Counter[str] = Counter()
    waits: list[float] = []

    def count(items: list[tuple[Change, Airline]]) -> None:
        now = datetime.now(UTC)
        for change, airline in items:
            counts[airline.name] += 1
            waits.append((now - change.committed_at).total_seconds() * 1000)

    alerts: list[Any] = []
    live = stage.db.changes(Flight, name="demo_live").filter(_departed).enrich(Airline, by="carrier").to(count)
    late = (
        stage.db.changes(Flight, name="demo_late").filter(_departed)
        .window(seconds=0.5, by="carrier", lateness=0.2, aggregate={"flights": count_of(), "delay": avg_of("dep_delay")})
        .alert(Threshold(value="delay", above=30, clear=20, by="carrier", name="late"))
        .to(alerts.extend)
    )  # fmt: skip
    writers = [threading.Thread(target=_write, args=(stage, number)) for number in range(_WRITERS)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    written = _WRITERS * _BATCHES * 5
    _until(lambda: counts.total() == written and bool(alerts))
    with stage.db.session() as session:
        told = _by_airline(session)
    if dict(counts) != told:
        raise RuntimeError("the live count is not what the table says")
    table = Table("airline", "counted live", "in the table", show_edge=False)
    for name, number in counts.most_common():
        table.add_row(escape(name), str(number), str(told[name]))
    stage.console.print(table)
    middle = sorted(waits)[len(waits) // 2]
    stage.console.print(f"\n{written} flights by {_WRITERS} writers; from commit to count {middle:.1f} ms in the median")
    first = alerts[0]
    stage.console.print(f"alert: {first.rule} {first.state} for {first.group['carrier']}: {first.value:.0f} min on average")
    for flow, name in ((live, "demo_live"), (late, "demo_late")):
        flow.stop()
        stage.db.changes(Flight, name=name).drop()
    with stage.db.transaction() as session:
        session.execute(delete(Flight).where(Flight.id >= _FIRST))


def _by_airline(session: Session) -> dict[str, int]:
    statement = select(Airline.name, func.count()).join(Airline.flights).where(Flight.id >= _FIRST).group_by(Airline.name)
    return {row[0]: row[1] for row in session.execute(statement)}


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the changes did not come in time")
        time.sleep(0.02)


CHAPTER = Chapter("A live count per airline, from the change stream", _tell)
