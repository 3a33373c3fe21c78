"""Detection: a page that asks once for each row is found, named, and mended by the line it is told."""

from __future__ import annotations

from collections.abc import Callable

from rich.markup import escape
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from dal.demo.models import Flight
from dal.demo.stage import Chapter, Stage
from dal.detection import detect
from dal.testing import count_statements

__all__ = ["CHAPTER"]

_LATE = select(Flight).where(Flight.dep_delay > 120).order_by(Flight.id).limit(50)
_FIX = ".options(joinedload(Flight.plane))"


def _page(session: Session) -> list[str]:
    return [flight.plane.model for flight in session.scalars(_LATE) if flight.plane]


def _mended(session: Session) -> list[str]:
    return [flight.plane.model for flight in session.scalars(_LATE.options(joinedload(Flight.plane))) if flight.plane]


def _tell(stage: Stage) -> None:
    with detect() as report:
        before = _sent(stage, _page)
    if _FIX not in [finding.fix for finding in report.findings]:
        raise RuntimeError("the planted N+1 was not found")
    stage.console.print(escape(str(report)))
    with detect() as report:
        after = _sent(stage, _mended)
    report.raise_if_any()
    stage.console.print(f"\nwith that line: {after} statement instead of {before}, and nothing left to find")


def _sent(stage: Stage, page: Callable[[Session], list[str]]) -> int:
    with count_statements(stage.db.engine) as seen, stage.db.session() as session:
        page(session)
    return seen.count


CHAPTER = Chapter("A page that asks once for each row", _tell)
