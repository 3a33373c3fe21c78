"""The clock of temporal prefetching, through both doors: started by the first demand, stopped with the database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from sqlalchemy.engine import URL

from dal import AsyncDatabase, temporal
from dal.asyncio._bridge import run_sync
from tests.prefetch.doors import POOL, Town
from tests.prefetch.town import BY_AGE


def _clocks() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "dal-prefetch-clock"]


def test_last_weeks_page_is_there_before_the_hour(town: Town) -> None:
    prefetcher = getattr(town.db.prefetch, "core", town.db.prefetch)
    now = [40 * 7 * 86_400.0 + 9 * 3600]
    prefetcher.clock = lambda: now[0]
    strategy = temporal(before="5m")
    pager = town.pager(BY_AGE, size=30, prefetch=strategy)
    town.page(pager, client="ann")
    town.db.cache.clear()
    now[0] += 7 * 86_400 - 300
    town.do(run_sync, prefetcher.warm, strategy) if town.awaits else prefetcher.warm(strategy)
    town.settle()
    with town.counted() as sent:
        town.page(pager, client="bob")
    assert sent.count == 0
    assert town.stats.strategies["temporal"].used == 1


def test_the_clock_ends_with_the_database(opened: Callable[..., Town]) -> None:
    with opened() as town:
        pager = town.pager(BY_AGE, size=30, prefetch=temporal())
        assert not _clocks()
        town.page(pager, client="ann")
        assert len(_clocks()) == (0 if town.awaits else 1)
    for thread in threading.enumerate():
        if thread.name == "dal-prefetch-clock":
            thread.join(10)
    assert not _clocks()


def test_a_pager_is_made_before_there_is_an_event_loop(town_url: URL) -> None:
    db = AsyncDatabase(town_url, pool=POOL)
    pager = db.pager(BY_AGE, size=30, prefetch=temporal())

    async def use() -> int:
        page = await pager.page(client="ann")
        await db.close()
        return len(page.items)

    assert asyncio.run(use()) == 30
