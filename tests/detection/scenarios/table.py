"""The table: every scenario is a function of an application, with what detection has to say about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session


@dataclass
class App:
    """What a scenario works with: a seeded database and a session on it."""

    engine: Engine
    session: Session


@dataclass(frozen=True)
class Scenario:
    """One application shape.

    Args:
        name: Its name.
        run: The code.
        rule: The rule that has to speak, or "" where silence is right.
        subject: What the finding has to be about; empty where the rule says enough.
        source: The project whose own tests have this shape, where one does.
        writes: It changes the database.
    """

    name: str
    run: Callable[[App], Any]
    rule: str = ""
    subject: str = ""
    source: str = ""
    writes: bool = False

    @property
    def dirty(self) -> bool:
        return bool(self.rule)


TABLE: dict[str, Scenario] = {}

N1, COLUMN, REPEATED, WRITES = "n-plus-one", "column-n-plus-one", "repeated-statement", "row-by-row-writes"
UNUSED, MULTIPLIED = "unused-eager-load", "multiplied-rows"

Run = Callable[[App], Any]


def dirty(rule: str, subject: str = "", *, source: str = "", writes: bool = False) -> Callable[[Run], Run]:
    """Enter a function that has to be flagged."""

    def enter(run: Run) -> Run:
        _enter(Scenario(run.__name__, run, rule, subject, source, writes))
        return run

    return enter


def clean(*, source: str = "", writes: bool = False) -> Callable[[Run], Run]:
    """Enter a function about which nothing may be said."""

    def enter(run: Run) -> Run:
        _enter(Scenario(run.__name__, run, "", "", source, writes))
        return run

    return enter


def _enter(scenario: Scenario) -> None:
    if scenario.name in TABLE:
        raise ValueError(f"two scenarios are called {scenario.name}")
    TABLE[scenario.name] = scenario
