"""Pagers as a type checker sees them: never run, only checked, by mypy --strict and pyright."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any, assert_type

from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import AsyncDatabase, Database, predictive, sequential, spatial, temporal, using_client
from dal.asyncio.pager import AsyncPager
from dal.paging import Page
from dal.prefetch import Pager, PrefetchStats


class Base(DeclarativeBase): ...


class Airport(Base):
    __tablename__ = "airports"

    faa: Mapped[str] = mapped_column(primary_key=True)
    lat: Mapped[float]
    lon: Mapped[float]


def sync_calls(db: Database) -> None:
    pager = db.pager(select(Airport), order_by=[Airport.faa.desc()], size=50, prefetch=sequential())
    assert_type(pager, Pager[Airport])
    assert_type(pager.page(client=7, after=None), Page[Airport])
    assert_type(pager.get("JFK"), Airport | None)
    assert_type(pager.area((40.0, 41.0), (-74.0, -73.0)), list[Airport])
    assert_type(db.pager(select(Airport.faa)), Pager[str])
    assert_type(db.pager(select(Airport.faa, Airport.lat)), Pager[Any])
    assert_type(db.prefetch.stats(), PrefetchStats)
    db.pager(select(Airport), prefetch=[sequential(), predictive(ahead=2), temporal(), spatial(Airport.lat, Airport.lon)])
    db.pager(select(Airport), prefetch="sequential")  # type: ignore[arg-type]
    db.pager(select(Airport), sizes=50)  # type: ignore[call-overload]
    pager.page(aftre="cursor")  # type: ignore[call-arg]
    db.prefetch.budget = 0.2
    with using_client("visitor"):
        pager.page()


async def async_calls(db: AsyncDatabase) -> None:
    pager = db.pager(select(Airport), prefetch=sequential())
    assert_type(pager, AsyncPager[Airport])
    assert_type(await pager.page(client=7), Page[Airport])
    assert_type(await pager.get("JFK"), Airport | None)
    assert_type(await pager.area((40.0, 41.0), (-74.0, -73.0)), list[Airport])
    assert_type(db.prefetch.stats(), PrefetchStats)
    assert_type(await db.prefetch.wait(), bool)
