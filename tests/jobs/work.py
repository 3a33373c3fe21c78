"""What the jobs of these tests do, where a worker of another process can import it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Numeric, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal.jobs import current_job


class Base(DeclarativeBase): ...


class Parcel(Base):
    __tablename__ = "parcels"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))
    weight: Mapped[float] = mapped_column(Numeric(8, 2))


class GoodParcel(BaseModel):
    """A parcel that weighs something."""

    id: int
    name: str
    weight: float

    def model_post_init(self, _: Any) -> None:
        if self.weight <= 0:
            raise ValueError("a parcel weighs something")


def add(one: int, other: int = 0) -> int:
    return one + other


async def add_slowly(one: int, other: int) -> int:
    await asyncio.sleep(0.01)
    return one + other


def count_after_a_moment(began: str) -> Any:
    Path(began).touch()
    time.sleep(0.5)
    with current_job().db.session() as session:
        return session.scalar(text("SELECT 2"))


def fail(message: str) -> None:
    raise LookupError(message)


def fail_until(path: str, times: int) -> int:
    """Fail the first so many times; return how often it was called."""
    file = Path(path)
    called = int(file.read_text() or 0) + 1 if file.exists() else 1
    file.write_text(str(called))
    if called <= times:
        raise LookupError(f"call {called}")
    return called


def count_to(number: int) -> None:
    job = current_job()
    for _ in range(number):
        job.advance(total=number)
    job.note()


def wait_for_file(path: str) -> str:
    """Wait until a file is there, and look whether the job shall end."""
    while not Path(path).exists():
        current_job().check()
        time.sleep(0.02)
    return Path(path).read_text()


def sleep_deaf(path: str) -> None:
    """Work on without looking, and tell when it began."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def die_once(path: str) -> str:
    """Kill the worker the first time."""
    file = Path(path)
    if not file.exists():
        file.write_text("died")
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def read_with_the_workers_database() -> int:
    with current_job().db.session() as session:
        found: int = session.scalar(text("SELECT 41 + 1"))
    return found


def give_a_set() -> Any:
    return {1, 2}
