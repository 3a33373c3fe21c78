"""What a chapter of the demo works with, and what a chapter is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from dal.database import Database
from dal.embedded import EmbeddedServer

__all__ = ["Chapter", "Stage"]


@dataclass(frozen=True)
class Stage:
    """What every chapter is given.

    Args:
        db: The database of the flights.
        server: The server it lives in.
        console: Where to print; 80 columns are enough for everything.
    """

    db: Database
    server: EmbeddedServer
    console: Console


@dataclass(frozen=True)
class Chapter:
    """One capability, shown on the flights.

    Args:
        title: One line, printed above it.
        tell: Does it and prints what came of it. Chapters run in order; each leaves the five tables as it found them.
    """

    title: str
    tell: Callable[[Stage], None]
