"""The main job: one page of flights with everything around it, under each loading policy."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import Session

from dal.demo.models import Flight
from dal.demo.stage import Chapter, Stage
from dal.errors import NotLoaded
from dal.loading import Policy, batched, eager, hybrid, lazy, strict
from dal.testing import count_statements

__all__ = ["CHAPTER"]

PAGE = 100
ROUNDS = 7
AROUND = (Flight.airline, Flight.plane, Flight.origin_airport, Flight.dest_airport, Flight.weather)

POLICIES: tuple[tuple[str, Policy], ...] = (
    ("lazy()", lazy()),
    ("hybrid(eager=[airline, plane], otherwise=lazy())", hybrid(eager=[Flight.airline, Flight.plane], otherwise=lazy())),
    ("batched()", batched()),
    ("hybrid(eager=[airline, plane])", hybrid(eager=[Flight.airline, Flight.plane])),
    ('eager(..., using="selectin")', eager(*AROUND, using="selectin")),
    ("eager(...)", eager(*AROUND)),
)


@dataclass
class Measured:
    """What one policy cost, round by round, and what it delivered."""

    name: str
    policy: Policy
    statements: int = 0
    milliseconds: list[float] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def _tell(stage: Stage) -> None:
    measured = [Measured(name, policy) for name, policy in POLICIES]
    for _ in range(ROUNDS):
        for one in measured:  # side by side, so that a slow moment of the machine meets all of them
            _measure(stage, one)
    if any(one.lines != measured[0].lines for one in measured):
        raise RuntimeError("two policies delivered different pages")
    _print(stage, measured)
    _refuse(stage)


def _measure(stage: Stage, one: Measured) -> None:
    started = time.perf_counter()
    with count_statements(stage.db.engine) as seen, stage.db.session() as session:
        one.lines = _page(session, one.policy)
    one.milliseconds.append((time.perf_counter() - started) * 1000)
    one.statements = seen.count


def _page(session: Session, policy: Policy) -> list[str]:
    """The lines a departure board would show: every one touches all five neighbours of its flight."""
    statement = select(Flight).where(Flight.month == 7).order_by(Flight.time_hour, Flight.id).limit(PAGE).options(policy)
    return [_line(flight) for flight in session.scalars(statement)]


def _line(flight: Flight) -> str:
    airline = flight.airline.name if flight.airline else "unknown airline"
    plane = f"{flight.plane.manufacturer} {flight.plane.model}" if flight.plane else "unknown plane"
    start = flight.origin_airport.name if flight.origin_airport else flight.origin
    end = flight.dest_airport.name if flight.dest_airport else flight.dest
    weather = f"{flight.weather.temp} F" if flight.weather else "no weather"
    return f"{flight.sched_dep_time:04} {airline} {flight.flight}, {plane}: {start} to {end}, {weather}"


def _print(stage: Stage, measured: list[Measured]) -> None:
    console = stage.console
    table = Table(
        title=f"One page of {PAGE} flights, each with its airline, plane, two airports and weather", title_justify="left"
    )
    table.add_column("policy", overflow="fold")
    for name in ("statements", "milliseconds", "rows"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in measured:
        table.add_row(escape(one.name), str(one.statements), f"{statistics.median(one.milliseconds):.1f}", str(len(one.lines)))
    console.print(table)
    console.print(f"[dim]milliseconds: query and touching together, median of {ROUNDS} rounds[/]")
    console.print(f"[dim]every policy gave the same page; its first line:\n{escape(measured[0].lines[0])}[/]\n")


def _refuse(stage: Stage) -> None:
    with stage.db.session() as session:
        try:
            _page(session, strict())
        except NotLoaded as error:
            stage.console.print(f"strict() sends nothing more than the query:\n{escape(str(error))}")


CHAPTER = Chapter("The same page under each loading policy", _tell)
