"""What a flow will write is compared with its table when the flow is made: no server is asked, let alone a change read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Computed
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import AsyncBulkWriter, AsyncDatabase, BulkWriter, Changes, Database, Threshold, UsageError, count_of, sum_of
from tests.streams.models import Animal, Copy, Counted, Order, Revenue

NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"


class Base(DeclarativeBase):
    pass


class Priced(Base):
    __tablename__ = "priced"

    id: Mapped[int] = mapped_column(primary_key=True)
    net: Mapped[int]
    gross: Mapped[int] = mapped_column(Computed("net * 2"))


class Net(Base):
    __tablename__ = "net"

    id: Mapped[int] = mapped_column(primary_key=True)
    net: Mapped[int]


def by_shop(changes: Any, **aggregate: Any) -> Any:
    return changes.window(seconds=60, by=Order.shop, aggregate=aggregate)


WRONG: list[Any] = [
    (lambda changes: by_shop(changes, total=sum_of("total")), Revenue, {}, "no column for total"),
    (
        lambda changes: changes.window(gap=60, by={"town": "shop"}, aggregate={"revenue": sum_of("total")}),
        Revenue,
        {"key": [Revenue.window_start]},
        "no column for town",
    ),
    (
        lambda changes: by_shop(changes, sum=sum_of("total"), n=count_of()).filter(bool).batch(),
        Revenue,
        {},
        "no column for n, sum, which",
    ),
    (lambda changes: by_shop(changes, orders=count_of()), Counted, {}, "items will have no 'id', .* key of Counted"),
    (lambda changes: by_shop(changes, revenue=sum_of("total")), Revenue, {"key": ["town"]}, "names town, .* not a column"),
    (
        lambda changes: by_shop(changes, n=count_of()).alert(Threshold(value="n", above=1, clear=0)),
        Revenue,
        {},
        "items will have no 'shop'",
    ),
    (lambda changes: changes, Revenue, {}, "no column for id, paid, total"),
]
NAMES = ["an aggregate", "a group", "filtered", "no key", "a key it has not", "alerts", "changes as they are"]


@pytest.mark.parametrize(("steps", "entity", "options", "said"), WRONG, ids=NAMES)
def test_what_the_table_cannot_take_is_told(
    steps: Callable[[Changes], Any], entity: Any, options: dict[str, Any], said: str
) -> None:
    with Database(NOWHERE) as db, pytest.raises(UsageError, match=said) as raised:
        steps(db.changes(Order, name="wrong")).to(BulkWriter(db, entity), **options)
    assert "window" in raised.value.hint or "columns of Revenue" in raised.value.hint


@pytest.mark.parametrize(("steps", "entity", "options", "said"), WRONG, ids=NAMES)
async def test_so_it_is_through_the_async_door(
    steps: Callable[[Any], Any], entity: Any, options: dict[str, Any], said: str
) -> None:
    async with AsyncDatabase(NOWHERE) as db:
        with pytest.raises(UsageError, match=said):
            steps(db.changes(Order, name="wrong")).to(AsyncBulkWriter(db, entity), **options)


@pytest.mark.parametrize(
    ("given", "steps", "entity", "options"),
    [
        (Order, lambda changes: by_shop(changes, revenue=sum_of("total")), Revenue, {}),
        (Order, lambda changes: by_shop(changes, orders=count_of()), Counted, {"key": ["shop", "window_start"]}),
        (Order, lambda changes: changes.filter(bool), Copy, {}),
        (Order, lambda changes: changes.map(dict), Revenue, {}),
        (Order, lambda changes: by_shop(changes, n=count_of()).flat_map(list), Revenue, {}),
        (Priced, lambda changes: changes, Net, {}),
        (Animal, lambda changes: changes, Animal, {}),
    ],
)
async def test_what_fits_or_only_a_function_knows_goes_on(
    given: Any, steps: Callable[[Any], Any], entity: Any, options: dict[str, Any]
) -> None:
    async with AsyncDatabase(NOWHERE) as db:
        flow = steps(db.changes(given, name="right")).to(AsyncBulkWriter(db, entity), **options)
        flow._waiting.stop()
        flow._task.cancel()


def test_a_stream_whose_kinds_or_columns_others_choose_goes_unchecked() -> None:
    with Database(NOWHERE) as db:
        for changes in (
            db.changes(Order, name="few", publication="mine"),
            db.changes(Order, name="gone", kinds=["delete"]),
            db.changes(Order, Animal, name="two"),
        ):
            assert changes._description.opening.gives is None
