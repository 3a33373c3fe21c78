"""The async door to pagers and to what loads their pages ahead: the same names, awaited."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Generic, TypeVar

from dal.asyncio._bridge import run_sync
from dal.paging import Page
from dal.prefetch import Decision, Pager, Prefetcher, PrefetchStats

__all__ = ["AsyncPager", "AsyncPrefetcher"]

T = TypeVar("T")


class AsyncPager(Generic[T]):
    """The pages of one query; made by `db.pager(...)` of an AsyncDatabase. See `Pager`.

    Args:
        core: The pager it is the door to.
    """

    def __init__(self, core: Pager[T]) -> None:
        self.core = core

    def __repr__(self) -> str:
        return f"Async{self.core!r}"

    async def page(
        self,
        *,
        after: str | None = None,
        before: str | None = None,
        client: Hashable | None = None,
        values: Mapping[str, Any] | None = None,
        owner: str | None = None,
    ) -> Page[T]:
        """Return a page; see `Pager.page`."""
        return await run_sync(self.core.page, after=after, before=before, client=client, values=values, owner=owner)

    async def get(self, key: Any, *, client: Hashable | None = None, values: Mapping[str, Any] | None = None) -> T | None:
        """Return the object with a primary key; see `Pager.get`."""
        return await run_sync(self.core.get, key, client=client, values=values)

    async def area(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        client: Hashable | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> list[T]:
        """Return what lies in an area; see `Pager.area`."""
        return await run_sync(self.core.area, x, y, client=client, values=values)


class AsyncPrefetcher:
    """What loads pages ahead: `db.prefetch` of an AsyncDatabase. See `Prefetcher`.

    Args:
        core: The prefetcher it is the door to.
    """

    def __init__(self, core: Prefetcher) -> None:
        self.core = core

    @property
    def budget(self) -> float:
        """How many extra statements there may be for each demand; see `Prefetcher.budget`."""
        return self.core.budget

    @budget.setter
    def budget(self, value: float) -> None:
        self.core.budget = value

    def stats(self) -> PrefetchStats:
        """Take a snapshot of the numbers."""
        return self.core.stats()

    def explain(self) -> tuple[Decision, ...]:
        """Tell why each of the latest 256 prefetches was sent or not."""
        return self.core.explain()

    async def wait(self, timeout: float = 5.0) -> bool:  # noqa: ASYNC109  the timeout of the sync door
        """Wait until nothing is in flight; see `Prefetcher.wait`."""
        return await run_sync(self.core.wait, timeout)

    async def stop(self) -> None:
        """Send nothing any more, and end what is in flight."""
        await run_sync(self.core.stop)
