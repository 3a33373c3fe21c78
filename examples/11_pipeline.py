"""Pipelines: validate, transform, aggregate and store at the same time, with what was rejected and which stage is slow."""

import asyncio
import csv
import tempfile
import time
from pathlib import Path

from sqlalchemy import Index, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import Aggregate, AsyncPipeline, BuildIndexes, BulkWriter, Database, Pipeline, read_csv


class Base(DeclarativeBase):
    pass


class Daily(Base):
    __tablename__ = "example11_daily"

    day: Mapped[int] = mapped_column(primary_key=True)
    readings: Mapped[int]
    highest: Mapped[int]


def check(row: dict[str, str]) -> dict[str, str]:
    """Return the item to pass on, or raise what rejects it."""
    if not row["value"].isdigit():
        raise ValueError(f"{row['value']!r} is no value")
    return row


def enrich(row: dict[str, str]) -> tuple[int, int]:
    time.sleep(0.0005)  # as a look-up somewhere else would take
    return int(row["day"]), int(row["value"])


by_day = Aggregate(
    key=lambda item: item[0],
    init=lambda: (0, 0),
    step=lambda state, item: (state[0] + 1, max(state[1], item[1])),
    finish=lambda day, state: Daily(day=day, readings=state[0], highest=state[1]),
)


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


def write_readings(path: Path) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["day", "value"])
        writer.writerows([1 + n % 3, "broken" if n == 70 else n * 37 % 100] for n in range(300))
    return path


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, Database.embedded() as db:
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
        path = write_readings(Path(folder) / "readings.csv")

        report = (
            Pipeline(read_csv(path))
            .validate(check)
            .transform(enrich)
            .aggregate(by_day)
            .store(BulkWriter(db, Daily), after=[BuildIndexes(db, Index("ix_example11_highest", Daily.highest))])
            .run()
        )
        for stage in report.stages:
            print(f"{stage.name:<10} {stage.items:>4} in {stage.passed:>4} out {stage.rejected:>2} rejected")
        print("rejected:", report.rejected[0].item, report.rejected[0].reason)
        print("slow:", report.slow)
        with db.session() as session:
            for daily in session.scalars(select(Daily).order_by(Daily.day)):
                print("day", daily.day, daily.readings, daily.highest)

    # The same with tasks: coroutine functions are awaited, plain ones run in threads beside the loop.
    stored: list[int] = []
    asyncio.run(AsyncPipeline(range(5)).transform(double).store(stored).run())
    print("tasks:", stored)
