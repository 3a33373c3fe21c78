"""The pool: the server is killed and comes back while pages are served; nobody sees an error."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from dal.demo.models import Flight
from dal.demo.stage import Chapter, Stage
from dal.errors import DalError
from dal.loading import eager

__all__ = ["CHAPTER"]

_DOWN = 1.0
_AROUND = 1.0


@dataclass
class Served:
    """What the readers of one page saw."""

    pages: int = 0
    errors: int = 0
    pause: float = 0.0


def _page(session: Session) -> int:
    page = select(Flight).order_by(Flight.id).limit(50).options(eager(Flight.airline))
    return len([flight.airline for flight in session.scalars(page)])


def _serve(stage: Stage, served: Served, stop: threading.Event) -> None:
    unit = stage.db.unit(read_only=True)
    while not stop.is_set():
        started = time.perf_counter()
        try:
            unit.run(_page)
            served.pages += 1
        except DalError:
            served.errors += 1
        served.pause = max(served.pause, time.perf_counter() - started)


def _tell(stage: Stage) -> None:
    readers = [Served() for _ in range(4)]
    stop = threading.Event()
    threads = [threading.Thread(target=_serve, args=(stage, served, stop), daemon=True) for served in readers]
    for thread in threads:
        thread.start()
    time.sleep(_AROUND)
    gone = time.perf_counter()
    stage.server.kill()
    time.sleep(_DOWN)
    stage.server.start()
    away = time.perf_counter() - gone
    time.sleep(_AROUND)
    stop.set()
    for thread in threads:
        thread.join()
    stage.console.print(f"{len(readers)} readers, the server killed with SIGKILL, and away for {away:.2f} s")
    stage.console.print(
        f"pages served {sum(served.pages for served in readers)}, errors seen {sum(served.errors for served in readers)}, "
        f"longest pause {max(served.pause for served in readers):.2f} s"
    )


CHAPTER = Chapter("The server dies and comes back", _tell)
