"""Rows that stand still are seen exactly once, whatever happens to the others between two pages.

Every combination of direction, place of NULLs, page size and way is walked; the judge is Python's sort.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Integer, create_engine, delete, insert, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dal.paging import get_page
from tests.paging.conftest import CONFIG, shared_server

DIRECTIONS = ("asc", "desc")
PLACES = ("default", "first", "last")
SIZES = range(1, 12)
ROWS = 16
VALUES = (None, 1, 2, 3)


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "moving_rows"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    a: Mapped[int | None]
    b: Mapped[int | None]
    c: Mapped[int]


@dataclass(frozen=True)
class Part:
    """A part of an order, and how Python sorts by it."""

    column: str
    direction: str
    place: str

    def clause(self) -> Any:
        column = getattr(Row, self.column)
        ordered = column.desc() if self.direction == "desc" else column.asc()
        return {"first": ordered.nulls_first, "last": ordered.nulls_last}.get(self.place, lambda: ordered)()

    def key(self, value: int | None, dialect: str) -> tuple[int, int]:
        largest = dialect == "postgresql"
        first = self.place == "first" or (self.place == "default" and largest == (self.direction == "desc"))
        if value is None:
            return (0 if first else 2, 0)
        return (1, -value if self.direction == "desc" else value)


def judged(rows: Sequence[dict[str, Any]], parts: Sequence[Part], dialect: str) -> list[int]:
    """Sort in Python; ties go by the primary key, in the direction of the last part."""
    sign = -1 if parts[-1].direction == "desc" else 1
    return [
        row["id"]
        for row in sorted(rows, key=lambda row: ([part.key(row[part.column], dialect) for part in parts], sign * row["id"]))
    ]


def disturb(session: Session, chance: random.Random, movers: set[int]) -> None:
    """Insert, delete and move rows, but none that stands still."""
    for _ in range(chance.randrange(4)):
        values = {"a": chance.choice(VALUES), "b": chance.choice(VALUES), "c": chance.choice((1, 2))}
        what = chance.randrange(3)
        if what == 0 or not movers:
            new = chance.choice(
                [number for number in range(-60, 200) if number not in movers and number not in range(1, ROWS + 1)]
            )
            session.execute(insert(Row).values(id=new, **values))
            movers.add(new)
        elif what == 1:
            gone = chance.choice(sorted(movers))
            session.execute(delete(Row).where(Row.id == gone))
            movers.discard(gone)
        else:
            session.execute(update(Row).where(Row.id == chance.choice(sorted(movers))).values(**values))


def walked(session: Session, parts: Sequence[Part], size: int, backwards: bool, seed: int) -> None:
    chance = random.Random(seed)
    rows = [
        {"id": number, "a": chance.choice(VALUES), "b": chance.choice(VALUES), "c": chance.choice((1, 2))}
        for number in range(1, ROWS + 1)
    ]
    session.execute(delete(Row))
    session.execute(insert(Row), rows)
    movers = set(chance.sample(range(1, ROWS + 1), ROWS // 3))
    still = [row for row in rows if row["id"] not in movers]
    order = [part.clause() for part in parts]
    seen: list[int] = []
    page = get_page(session, select(Row.id), order_by=order, size=size, number=-1 if backwards else 1)
    for _ in range(300):
        seen = [*page.items, *seen] if backwards else [*seen, *page.items]
        disturb(session, chance, movers)
        cursor = page.previous if backwards else page.next
        if cursor is None:
            break
        if backwards:
            page = get_page(session, select(Row.id), order_by=order, size=size, before=cursor)
        else:
            page = get_page(session, select(Row.id), order_by=order, size=size, after=cursor)
    else:
        raise AssertionError("the walk does not end")
    expected = judged(still, parts, session.get_bind().dialect.name)
    stood = {row["id"] for row in still}
    assert [each for each in seen if each in stood] == expected


@pytest.fixture(scope="module")
def memory() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Engine]:
    for engine in shared_server(request):
        Base.metadata.create_all(engine)
        yield engine
        Base.metadata.drop_all(engine)


@pytest.mark.parametrize("size", SIZES)
def test_every_combination(size: int, memory: Engine) -> None:
    combinations = itertools.product(DIRECTIONS, PLACES, DIRECTIONS, PLACES, (False, True))
    with Session(memory, info=CONFIG.info()) as session:
        for number, (first, its_place, second, other_place, backwards) in enumerate(combinations):
            parts = [Part("a", first, its_place), Part("b", second, other_place)]
            walked(session, parts, size, backwards, seed=1000 * size + number)


parts = st.builds(Part, st.sampled_from(["a", "b", "c"]), st.sampled_from(DIRECTIONS), st.sampled_from(PLACES))


orders = st.lists(parts, min_size=1, max_size=3, unique_by=lambda part: part.column)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(parts, min_size=1, max_size=3, unique_by=lambda part: part.column),
    st.integers(1, 11),
    st.booleans(),
    st.integers(),
)
def test_on_servers(server: Engine, order: list[Part], size: int, backwards: bool, seed: int) -> None:
    with Session(server, info=CONFIG.info()) as session:
        walked(session, order, size, backwards, seed)
