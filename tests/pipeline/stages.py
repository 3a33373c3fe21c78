"""Functions that are handed to other processes: found there by name."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import Aggregate


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


def ids() -> Iterator[dict[str, int]]:
    for number in range(10**9):
        yield {"id": number}


def number(item: Any) -> int:
    return int(item)


def square(item: int) -> int:
    return item * item


def with_pid(item: int) -> tuple[int, int]:
    time.sleep(0.002)
    return item, os.getpid()


def below_fifty(item: int) -> int:
    if item >= 50:
        raise ValueError(f"{item} is too much")
    return item


def sluggish(item: Any) -> Any:
    time.sleep(0.002)
    return item


def endless(item: Any) -> Any:
    time.sleep(60)
    return item


def die(item: Any) -> Any:
    os._exit(7)


def digest(item: Any) -> str:
    return hashlib.sha256(str(item).encode()).hexdigest()


def last_digit(item: int) -> int:
    return item % 10


def add(total: int, item: int) -> int:
    return total + item


def pair(key: int, total: int) -> tuple[int, int]:
    return key, total


BY_DIGIT = Aggregate(key=last_digit, init=int, step=add, finish=pair, merge=add)
