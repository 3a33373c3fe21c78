"""Facts that the data path states, and the protocol of those who listen.

A fact is a small frozen value made only when somebody listens. Give an observer to the object whose facts you want
(`ObjectPool(..., observer=print)`); it is called on the path itself, so it should return at once. What it raises is logged and
goes no further. For numbers at a glance use `stats()`; facts are for metrics, traces and logs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "Closed",
    "CommitSettled",
    "Leaked",
    "Observer",
    "OpenFailed",
    "Opened",
    "Retried",
    "Returned",
    "TimedOut",
    "Waited",
    "state",
]

_log = logging.getLogger("dal.events")


class Observer(Protocol):
    """Anything callable with one fact."""

    def __call__(self, fact: object, /) -> None:
        """Take note of a fact."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A pool made an object; `seconds` is what that took."""

    pool: str
    seconds: float


@dataclass(frozen=True, slots=True)
class OpenFailed:
    """A pool could not make an object after `seconds`, because of `error`."""

    pool: str
    seconds: float
    error: BaseException


@dataclass(frozen=True, slots=True)
class Closed:
    """A pool destroyed an object of `age` seconds; `reason`: lifetime, idle, dead, silent, broken, retired or closed."""

    pool: str
    reason: str
    age: float


@dataclass(frozen=True, slots=True)
class Waited:
    """A borrower got an object after `seconds`: none where one lay ready, else waiting, making and checking together."""

    pool: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A borrower got nothing after waiting for `seconds`."""

    pool: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Retried:
    """A unit of work is run again, for the `again`th time, after a pause of `seconds`, because of `error`."""

    again: int
    seconds: float
    error: BaseException


@dataclass(frozen=True, slots=True)
class CommitSettled:
    """A COMMIT whose reply was lost took `seconds` to clear up; `outcome`: committed, aborted or unknown."""

    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Returned:
    """An object came back after `seconds` in use."""

    pool: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Leaked:
    """An object has been out longer than the leak threshold; `borrowed_at` is the line that took it."""

    pool: str
    seconds: float
    borrowed_at: str


def state(observer: Observer, fact: object) -> None:
    """Tell an observer a fact; an error of the observer is logged, never raised.

    Args:
        observer: Who listens.
        fact: What happened.

    Example:
        >>> state(print, Waited(pool="main", seconds=0.25))
        Waited(pool='main', seconds=0.25)
    """
    try:
        observer(fact)
    except Exception:
        _log.exception("the observer %r failed on %r", observer, fact)
