"""`AsyncRepository[T]`: the same repository over an AsyncSession.

Every method of `Repository` with the same arguments and the same result, awaited; `stream` is an async iterator. It
holds no logic: the sync repository runs on the AsyncSession's own Session. Not for use by several tasks at once: an
AsyncSession is one conversation with the database.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session

from dal.loading import Policy
from dal.loading.tasks import alone
from dal.repository import Attribute, Criterion, Explanation, Filter, Lock, Order, Path, Repository, Values
from dal.repository.entities import entity_of
from dal.repository.generic import argument_of, refuse_unless_session, resolve
from dal.repository.statements import batch_size

if TYPE_CHECKING:
    from dal.paging import Page, PagePlan, Position, Totals, Window

__all__ = ["AsyncRepository"]

T = TypeVar("T")
R = TypeVar("R")


class AsyncRepository(Generic[T]):
    """Read and write one entity through an AsyncSession.

    Args:
        session: The application's own AsyncSession or async_scoped_session; the caller commits.
        entity: The mapped class; a subclass of `AsyncRepository[User]` knows it.
        policy: The loading policy of the reads that name none; otherwise that of the class.

    Raises:
        UsageError: The class is not mapped, or none was named; or the session is something else.

    Example:
        `user = await AsyncRepository(session, User).one(User.email == "a@b")`
    """

    policy: Policy | str | None = None
    """The loading policy of the reads that name none."""

    _argument: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._argument = argument_of(cls, AsyncRepository, "_argument")

    def __init__(
        self,
        session: AsyncSession | async_scoped_session[Any],
        entity: type[T] | None = None,
        *,
        policy: Policy | str | None = None,
    ) -> None:
        self._given = refuse_unless_session(session, (AsyncSession, async_scoped_session), "AsyncRepository")
        if policy is not None:
            self.policy = policy
        self._cls: type[T] = resolve(self._argument, type(self)) if entity is None else entity
        entity_of(self._cls)

    @property
    def session(self) -> AsyncSession:
        """The AsyncSession in use: of an async_scoped_session, the one of this scope."""
        given = self._given
        return given if isinstance(given, AsyncSession) else given()

    async def get(self, ident: Any, *, policy: Policy | str | None = None, lock: Lock | None = None) -> T | None:
        """Return the object with a primary key; see `Repository.get`."""
        return await self._run(lambda sync: sync.get(ident, policy=policy, lock=lock))

    async def get_many(self, idents: Iterable[Any], *, policy: Policy | str | None = None) -> builtins.list[T | None]:
        """Return the objects with these primary keys; see `Repository.get_many`."""
        return await self._run(lambda sync: sync.get_many(idents, policy=policy))

    async def one(self, *criteria: Criterion[T], policy: Policy | str | None = None, lock: Lock | None = None) -> T:
        """Return the only object that filters select; see `Repository.one`."""
        return await self._run(lambda sync: sync.one(*criteria, policy=policy, lock=lock))

    async def first(
        self,
        *criteria: Criterion[T],
        order_by: Order | None = None,
        policy: Policy | str | None = None,
        lock: Lock | None = None,
    ) -> T | None:
        """Return the first object that filters select; see `Repository.first`."""
        return await self._run(lambda sync: sync.first(*criteria, order_by=order_by, policy=policy, lock=lock))

    async def list(
        self,
        *criteria: Criterion[T],
        order_by: Order | None = None,
        limit: int | None = None,
        offset: int | None = None,
        policy: Policy | str | None = None,
        lock: Lock | None = None,
    ) -> builtins.list[T]:
        """Return the objects that filters select; see `Repository.list`."""
        return await self._run(
            lambda sync: sync.list(*criteria, order_by=order_by, limit=limit, offset=offset, policy=policy, lock=lock)
        )

    async def count(self, *criteria: Criterion[T]) -> int:
        """Return how many rows `list` would return; see `Repository.count`."""
        return await self._run(lambda sync: sync.count(*criteria))

    async def exists(self, *criteria: Criterion[T]) -> bool:
        """Return whether there is such a row; see `Repository.exists`."""
        return await self._run(lambda sync: sync.exists(*criteria))

    async def page(
        self,
        *criteria: Criterion[T],
        order_by: Order | None = None,
        size: int = 50,
        after: str | None = None,
        before: str | None = None,
        number: int | None = None,
        total: Totals = "none",
        owner: str | None = None,
        policy: Policy | str | None = None,
        max_offset: int | None = None,
    ) -> Page[T]:
        """Return a page of the objects that filters select; see `Repository.page`."""
        return await self._run(
            lambda sync: sync.page(
                *criteria,
                order_by=order_by,
                size=size,
                after=after,
                before=before,
                number=number,
                total=total,
                owner=owner,
                policy=policy,
                max_offset=max_offset,
            )
        )

    def in_batches(
        self,
        *criteria: Criterion[T],
        order_by: Order | None = None,
        size: int = 1000,
        policy: Policy | str | None = None,
    ) -> AsyncIterator[builtins.list[T]]:
        """Yield the objects that filters select in lists; see `Repository.in_batches`."""
        planned = self._over(self.session.sync_session)._batches(criteria, order_by, size, policy)
        return self._walk(planned, size)

    def stream(
        self,
        *criteria: Criterion[T],
        order_by: Order | None = None,
        batch: int = 1000,
        policy: Policy | str | None = None,
        keyset: bool = False,
    ) -> AsyncIterator[T]:
        """Yield the objects that filters select, through a server-side cursor or by keyset; see `Repository.stream`."""
        sync = self._over(self.session.sync_session)
        if keyset:
            return self._each(sync._batches(criteria, order_by, batch_size(batch), policy), batch)
        return self._yield(sync._streaming(criteria, order_by, batch, policy))

    async def explain(
        self,
        *criteria: Criterion[T],
        order_by: Order | None = None,
        limit: int | None = None,
        offset: int | None = None,
        policy: Policy | str | None = None,
    ) -> Explanation:
        """Return the statements that `list` would send, and their plans; see `Repository.explain`."""
        return await self._run(
            lambda sync: sync.explain(*criteria, order_by=order_by, limit=limit, offset=offset, policy=policy)
        )

    async def load(self, objects: Iterable[T], *paths: Path) -> None:
        """Fill attributes that already loaded objects are missing; see `Repository.load`."""
        await self._run(lambda sync: sync.load(objects, *paths))

    async def add(self, obj: T) -> T:
        """Add a new object to the session; see `Repository.add`."""
        return await self._run(lambda sync: sync.add(obj))

    async def add_all(self, objects: Iterable[T]) -> builtins.list[T]:
        """Add new objects to the session; see `Repository.add_all`."""
        return await self._run(lambda sync: sync.add_all(objects))

    async def update(self, *filters: Filter, values: Values) -> int:
        """Write values to the rows that filters select; see `Repository.update`."""
        return await self._run(lambda sync: sync.update(*filters, values=values))

    async def delete(self, *filters: Filter) -> int:
        """Delete the rows that filters select; see `Repository.delete`."""
        return await self._run(lambda sync: sync.delete(*filters))

    async def upsert(self, obj: T, *, key: Sequence[Attribute]) -> T:
        """Insert a new object or write it over the row that has its key; see `Repository.upsert`."""
        return await self._run(lambda sync: sync.upsert(obj, key=key))

    def _over(self, session: Session) -> Repository[T]:
        return Repository(session, self._cls, policy=self.policy)

    async def _run(self, call: Callable[[Repository[T]], R]) -> R:
        def one_task(session: Session) -> R:
            with alone(session, f"a call of {type(self).__name__}"):
                return call(self._over(session))

        return await self.session.run_sync(one_task)

    async def _each(self, planned: PagePlan[T], size: int) -> AsyncIterator[T]:
        async for found in self._walk(planned, size):
            for each in found:
                yield each

    async def _walk(self, planned: PagePlan[T], size: int) -> AsyncIterator[builtins.list[T]]:
        after: Position | None = None
        while True:
            window = await self._run(partial(_next, planned, size, after))
            if window.items:
                yield window.items
            if window.next is None:
                return
            after = window.next

    async def _yield(self, statement: Select[T]) -> AsyncIterator[T]:
        result = await self.session.stream_scalars(statement)
        try:
            async for each in result:
                yield each
        finally:
            await result.close()


def _next(planned: PagePlan[T], size: int, after: Position | None, sync: Repository[T]) -> Window[T]:
    from dal.paging.batches import next_batch

    return next_batch(sync.session, planned, size, after)


AsyncRepository._argument = T
