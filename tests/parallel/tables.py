"""Tables with awkward keys, and the functions that are handed to other processes: found there by name."""

from __future__ import annotations

import enum
import os
import time
from decimal import Decimal
from typing import Any

from sqlalchemy import Dialect, ForeignKey, Numeric, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Cents(TypeDecorator[int]):
    """Kept as an amount with two places, seen as whole cents."""

    impl = Numeric(12, 2)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value) / 100

    def process_result_value(self, value: Decimal | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value * 100)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Base(DeclarativeBase):
    pass


class Shop(Base):
    __tablename__ = "shops"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))
    sales: Mapped[list[Sale]] = relationship(back_populates="shop", order_by="Sale.id")


class Sale(Base):
    __tablename__ = "sales"

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int | None] = mapped_column(ForeignKey("shops.id"))
    amount: Mapped[int] = mapped_column("amount_", Cents)
    colour: Mapped[Colour]
    word: Mapped[str | None] = mapped_column(String(40))
    shop: Mapped[Shop | None] = relationship(back_populates="sales")


SALES = 5000
SHOPS = 7

FILL = f"""
INSERT INTO shops SELECT n, 'shop ' || n FROM generate_series(1, {SHOPS}) n;
INSERT INTO sales (id, shop_id, amount_, colour, word)
SELECT n * n, CASE WHEN n % 10 = 0 THEN NULL ELSE 1 + n % {SHOPS} END, n, (ARRAY['RED', 'BLUE'])[1 + n % 2]::colour,
  CASE WHEN n % 3 = 0 THEN NULL WHEN n % 3 = 1 THEN 'same' ELSE 'Wort ' || n % 50 END
FROM generate_series(1, {SALES}) n
"""

TOTAL = 100 * SALES * (SALES + 1) // 2


def amounts(rows: list[Any]) -> int:
    return sum(row.amount for row in rows)


def count(rows: list[Any]) -> int:
    return len(rows)


def shown(row: Any) -> tuple[int, int, Colour, str | None]:
    return row.id, row.amount, row.colour, row.word


def where(rows: list[Any]) -> tuple[int, int]:
    time.sleep(0.05)
    return os.getpid(), len(rows)


def fail_late(rows: list[Any]) -> int:
    if any(row.id > 16_000_000 for row in rows):
        raise LookupError("nobody knows this one")
    return len(rows)


def die(rows: list[Any]) -> int:
    os._exit(3)


def slow(rows: list[Any]) -> int:
    time.sleep(30)
    return len(rows)


class OddError(Exception):
    """One that does not survive pickling."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def odd(rows: list[Any]) -> int:
    raise OddError("left", "right")


def unpicklable(rows: list[Any]) -> Any:
    return lambda: rows
