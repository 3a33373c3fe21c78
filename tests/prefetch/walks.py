"""What the tests of strategies have in common: pages without a database, and an executor that runs on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dal.prefetch import Prefetcher
from dal.prefetch.requests import Direction, Model, Request, Seen, Thought


def page(number: int, template: str = "list") -> Request:
    return Request(template, (), None if number == 1 else f"after {number - 1}")


def seen(client: Any, number: int, last: int = 100, *, at: float = 0.0, direction: Direction = "forwards") -> Seen:
    """A page of a list of `last` pages; backwards it is known by the same cursor, which is enough here."""
    return Seen(
        client,
        page(number),
        direction,
        following=page(number + 1) if number < last else None,
        preceding=page(number - 1) if number > 1 else None,
        at=at,
    )


def only(thoughts: Sequence[Thought]) -> Thought:
    (thought,) = thoughts
    return thought


def asked(
    model: Model, client: Any, template: str, at: float = 0.0, row: dict[str, Any] | None = None, **arguments: Any
) -> Thought:
    request = Request(template, tuple(sorted(arguments.items())))
    return model.observe(Seen(client, request, row=row or {}, at=at))[0]


class Inline:
    """Runs everything at once, in the caller."""

    def __init__(self) -> None:
        self.clocks: list[tuple[Callable[[float], float], Callable[[], None]]] = []
        self.running = True

    def submit(self, work: Callable[[], None], abandoned: Callable[[], None]) -> bool:
        if self.running:
            work()
        return self.running

    def tick(self, next_due: Callable[[float], float], work: Callable[[], None]) -> None:
        if not self.clocks:
            self.clocks.append((next_due, work))

    def drain(self, seconds: float) -> bool:
        return True

    def stop(self, seconds: float) -> None:
        self.running = False

    def reset(self) -> None:
        self.running = True


class Later(Inline):
    """Keeps what it is given until `run()`."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Callable[[], None]] = []

    def submit(self, work: Callable[[], None], abandoned: Callable[[], None]) -> bool:
        self.jobs.append(work)
        return True

    def run(self) -> None:
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()


class Shelf:
    """A source that keeps what it loads, and counts."""

    def __init__(self) -> None:
        self.kept: set[Request] = set()
        self.statements = 0
        self.answer: Any = "kept"

    def holds(self, request: Request) -> bool:
        return request in self.kept

    def load(self, requests: Sequence[Request]) -> Any:
        self.statements += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer == "kept":
            self.kept.update(requests)
        return self.answer

    def describe(self, request: Request) -> str:
        return f"{request.template} {request.position or 'from the start'}"


class Desk:
    """A prefetcher with a shelf behind it, on a clock that the test turns."""

    def __init__(self, *strategies: Any, executor: Any = None, spare: str = "", budget: float = 0.2) -> None:
        self.now = 1_000_000.0
        self.spare = spare
        self.shelf = Shelf()
        self.executor = executor or Inline()
        self.strategies = strategies
        self.prefetcher = Prefetcher(self.executor, lambda: self.spare, clock=lambda: self.now)
        self.prefetcher.budget = budget
        self.prefetcher.register("list", self.shelf)

    def demand(self, demanded: Seen) -> bool:
        """Ask for something; returns whether it was there."""
        hit = all(part in self.shelf.kept for part in demanded.parts)
        self.shelf.kept.update(demanded.parts)
        self.prefetcher.demanded(demanded, self.strategies, sent=not hit, seconds=0.001)
        return hit

    @property
    def why(self) -> str:
        """The latest decision, as a line."""
        return str(self.prefetcher.explain()[-1])
