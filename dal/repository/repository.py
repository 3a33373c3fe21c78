"""`Repository[T]`: the reads and writes of one entity over the application's own Session.

Use it where the same few questions are asked of an entity again and again, and a filter that cannot mean what was
written should be an error instead of a slow or wrong answer. It is thin: a read is one `select()` that you could have
written, and a `select()` you did write goes in as it is. It never commits. For reports over several entities use
`session.execute(select(...))`; for many rows at once use BulkWriter.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from sqlalchemy import ScalarResult, Select, select
from sqlalchemy.exc import MultipleResultsFound, NoResultFound
from sqlalchemy.orm import Session, scoped_session

from dal.errors import MultipleFound, NotFound, UsageError
from dal.loading import Policy, apply_policy
from dal.repository import _internals, identities, statements, writes
from dal.repository.entities import Entity, entity_of
from dal.repository.explain import Explanation, explain
from dal.repository.fill import fill
from dal.repository.generic import argument_of, refuse_unless_session, resolve
from dal.repository.types import Attribute, Criterion, Filter, Lock, Order, Path, Values
from dal.repository.upsert import upsert

if TYPE_CHECKING:
    from dal.paging import Page, PagePlan, Totals

__all__ = ["Repository"]

T = TypeVar("T")


class Repository(Generic[T]):
    """Read and write one entity through a Session.

    Args:
        session: The application's own Session or scoped_session; the caller commits.
        entity: The mapped class; a subclass of `Repository[User]` knows it.
        policy: The loading policy of the reads that name none; otherwise that of the class.

    Raises:
        UsageError: The class is not mapped, or none was named; or the session is something else.

    Example:
        >>> from sqlalchemy import Integer, String, create_engine
        >>> from sqlalchemy.orm import DeclarativeBase, Session, mapped_column
        >>> class Base(DeclarativeBase): ...
        >>> class User(Base):
        ...     __tablename__ = "users"
        ...     id = mapped_column(Integer, primary_key=True)
        ...     name = mapped_column(String)
        >>> class Users(Repository[User]): ...
        >>> engine = create_engine("sqlite://")
        >>> Base.metadata.create_all(engine)
        >>> session = Session(engine)
        >>> users = Users(session)
        >>> _ = users.add_all([User(name="Ada"), User(name="Grace")])
        >>> users.count(User.name == "Ada")
        1
        >>> [user.name for user in users.list(order_by=User.name.desc(), limit=1)]
        ['Grace']
        >>> session.close(); engine.dispose()
    """

    policy: Policy | str | None = None
    """The loading policy of the reads that name none."""

    _argument: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._argument = argument_of(cls, Repository, "_argument")

    def __init__(
        self,
        session: Session | scoped_session[Any],
        entity: type[T] | None = None,
        *,
        policy: Policy | str | None = None,
    ) -> None:
        self._given = refuse_unless_session(session, (Session, scoped_session), "Repository")
        if policy is not None:
            self.policy = policy
        self._entity: Entity[T] = entity_of(resolve(self._argument, type(self)) if entity is None else entity)

    @property
    def session(self) -> Session:
        """The Session in use: of a scoped_session, the one of this scope."""
        given = self._given
        return given if isinstance(given, Session) else given()

    # Reading

    def get(self, ident: Any, *, policy: Policy | str | None = None, lock: Lock | None = None) -> T | None:
        """Return the object with a primary key; from the session, without a statement, if it holds it.

        Args:
            ident: A value; of a composite key a tuple, or a mapping by attribute name.
            policy: How related data is loaded when a statement is sent.
            lock: Lock the row until the transaction ends and read it as it is now.

        Returns:
            The object, or None where there is none.

        Raises:
            UsageError: It is not a primary key of the entity.
            UnsupportedError: A lock was asked for on SQLite.

        Example:
            `users.get(7)`; `lines.get((7, 1))`; `users.get(7, lock="update")`
        """
        entity, session = self._entity, self.session
        key = entity.identity(ident)
        if key is None:
            return None
        chosen = policy if policy is not None else self.policy
        if lock is None and (chosen is None or entity.mapper.identity_key_from_primary_key(key) in session.identity_map):
            return session.get(entity.cls, key)
        statement = entity.select.where(identities.among(entity.key, [key]))
        return self._fetch(self._prepare(statement, policy, lock)).one_or_none()

    def get_many(self, idents: Iterable[Any], *, policy: Policy | str | None = None) -> builtins.list[T | None]:
        """Return the objects with these primary keys, with one query.

        Args:
            idents: Primary keys as `get` takes them; repeated ones are fine. Past 30,000 values the query is split.
            policy: How related data is loaded.

        Returns:
            One element a key, in the order asked; None where there is none.

        Raises:
            UsageError: An element is not a primary key of the entity.

        Example:
            `users.get_many([7, 9, 9, 1])` gives `[user7, user9, user9, None]`
        """
        return identities.get_many(
            self._entity, idents, lambda statement: self._fetch(self._prepare(statement, policy, None)).all()
        )

    def one(self, *criteria: Criterion[T], policy: Policy | str | None = None, lock: Lock | None = None) -> T:
        """Return the only object that filters select.

        Args:
            criteria: Filters, or a `select()` of the entity.
            policy: How related data is loaded.
            lock: Lock the row until the transaction ends and read it as it is now.

        Raises:
            NotFound: There is none.
            MultipleFound: There are several.
            UsageError: A filter cannot mean what was written.

        Example:
            `users.one(User.email == "a@b")`
        """
        statement = statements.read(self._entity, criteria)
        if not (criteria and isinstance(criteria[0], Select)):
            statement = statement.limit(2)
        try:
            return self._fetch(self._prepare(statement, policy, lock)).one()
        except NoResultFound as error:
            raise NotFound(*self._found("no", statement), hint="use first() where there may be none") from error
        except MultipleResultsFound as error:
            hint = "narrow the filter, or use first() or list()"
            raise MultipleFound(*self._found("more than one", statement), hint=hint) from error

    def first(
        self,
        *criteria: Criterion[T],
        order_by: Order | None = None,
        policy: Policy | str | None = None,
        lock: Lock | None = None,
    ) -> T | None:
        """Return the first object that filters select; without an order, any of them.

        Args:
            criteria: Filters, or a `select()` of the entity.
            order_by: A column expression, or a list of them.
            policy: How related data is loaded.
            lock: Lock the row until the transaction ends and read it as it is now.

        Returns:
            The object, or None where there is none.

        Raises:
            UsageError: A filter or an order cannot mean what was written.

        Example:
            `users.first(User.active, order_by=User.created_at)`
        """
        statement = statements.read(self._entity, criteria, order_by=order_by, limit=1)
        found: T | None = self._fetch(self._prepare(statement, policy, lock)).first()
        return found

    def list(
        self,
        *criteria: Criterion[T],
        order_by: Order | None = None,
        limit: int | None = None,
        offset: int | None = None,
        policy: Policy | str | None = None,
        lock: Lock | None = None,
    ) -> builtins.list[T]:
        """Return the objects that filters select.

        Args:
            criteria: Filters, or a `select()` of the entity, which may be followed by filters.
            order_by: A column expression, or a list of them; comes after the order of a `select()`.
            limit: How many rows at most.
            offset: How many rows to skip.
            policy: How related data is loaded.
            lock: Lock the rows until the transaction ends and read them as they are now.

        Raises:
            UsageError: An argument cannot mean what was written.

        Example:
            `users.list(User.active, order_by=User.name.desc(), limit=20, policy=eager(User.orders))`
        """
        statement = statements.read(self._entity, criteria, order_by=order_by, limit=limit, offset=offset)
        return builtins.list(self._fetch(self._prepare(statement, policy, lock)).all())

    def count(self, *criteria: Criterion[T]) -> int:
        """Return how many rows `list` would return.

        Raises:
            UsageError: A filter cannot mean what was written.

        Example:
            `users.count(User.active)`
        """
        return self.session.scalars(statements.counting(self._entity, criteria)).one()

    def exists(self, *criteria: Criterion[T]) -> bool:
        """Return whether there is such a row.

        Raises:
            UsageError: A filter cannot mean what was written.

        Example:
            `users.exists(User.email == "a@b")`
        """
        return bool(self.session.scalar(select(statements.read(self._entity, criteria).exists())))

    def page(
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
        """Return a page of the objects that filters select, by keyset: as fast at any depth, and no row lost or seen twice.

        Args:
            criteria: Filters, or a `select()` of the entity.
            order_by: A column expression, or a list of them; what tells rows apart is added by itself.
            size: Rows of the page.
            after: The cursor to begin after: another page's `next`.
            before: The cursor to end before: another page's `previous`.
            number: A page by its number: the first is 1, the last is -1; the database reads and skips the rows in between.
            total: "none", "exact", "bounded" (counts to 10,000), "estimate" (asks the planner), or a number to count to.
            owner: Who alone may use the page's cursors: a tenant, a user.
            policy: How related data is loaded.
            max_offset: How many rows may be skipped to get to a page by its number; by default `dal.paging.MAX_OFFSET`.

        Returns:
            The page: `items`, `next`, `previous`, `total`.

        Raises:
            UsageError: An argument cannot mean what was written.
            CursorError: The cursor is not one of ours for this query; answer HTTP 400. Nothing was sent.

        Example:
            `page = users.page(User.active, order_by=[User.created_at.desc()], after=cursor)`
        """
        from dal.paging import MAX_OFFSET, get_page

        statement = self._prepare(statements.read(self._entity, criteria, order_by=order_by), policy, None)
        return get_page(
            self.session,
            statement,
            size=size,
            after=after,
            before=before,
            number=number,
            total=total,
            owner=owner,
            max_offset=MAX_OFFSET if max_offset is None else max_offset,
        )

    def in_batches(
        self,
        *criteria: Criterion[T],
        order_by: Order | None = None,
        size: int = 1000,
        policy: Policy | str | None = None,
    ) -> Iterator[builtins.list[T]]:
        """Yield the objects that filters select in lists, each by a statement of its own; a commit in between is fine.

        Args:
            criteria: Filters, or a `select()` of the entity.
            order_by: A column expression, or a list of them; by default the primary key.
            size: Rows of a list.
            policy: How related data is loaded.

        Raises:
            UsageError: An argument cannot mean what was written.

        Example:
            `for batch in users.in_batches(User.active, size=500): ...; session.commit()`
        """
        from dal.paging.batches import batches

        return batches(self.session, self._batches(criteria, order_by, size, policy), size)

    def stream(
        self,
        *criteria: Criterion[T],
        order_by: Order | None = None,
        batch: int = 1000,
        policy: Policy | str | None = None,
        keyset: bool = False,
    ) -> Iterator[T]:
        """Yield the objects that filters select, in constant memory, through a server-side cursor.

        Args:
            criteria: Filters, or a `select()` of the entity.
            order_by: A column expression, or a list of them.
            batch: How many rows are held at a time; eager collections are loaded once a batch.
            policy: How related data is loaded; a collection cannot be joined here.
            keyset: Send a statement a batch instead, each of which seeks to where the last one ended: nothing stays open, so
                that a commit in between is fine, and PgBouncer too.

        Raises:
            UsageError: An argument cannot mean what was written.

        Example:
            `for user in users.stream(User.active, batch=500): ...`
        """
        if keyset:
            from dal.paging.batches import batches

            planned = self._batches(criteria, order_by, statements.batch_size(batch), policy)
            return chain.from_iterable(batches(self.session, planned, batch))
        return self._yield(self._streaming(criteria, order_by, batch, policy))

    def explain(
        self,
        *criteria: Criterion[T],
        order_by: Order | None = None,
        limit: int | None = None,
        offset: int | None = None,
        policy: Policy | str | None = None,
    ) -> Explanation:
        """Return the statements that `list` would send, those of the policy too, how many, and their plans.

        The read is run once, apart from the session's objects and read-only; nothing is changed or flushed.

        Raises:
            UsageError: An argument cannot mean what was written.

        Example:
            `print(users.explain(User.active, policy=eager(User.orders)))`
        """
        statement = statements.read(self._entity, criteria, order_by=order_by, limit=limit, offset=offset)
        return explain(self.session, self._entity, self._prepare(statement, policy, None))

    def load(self, objects: Iterable[T], *paths: Path) -> None:
        """Fill attributes that already loaded objects are missing, one statement a step.

        Args:
            objects: Persistent objects of this session.
            paths: Attributes, relationships or deferred columns. Each hangs on every path named before it that ends at
                its class, the entity itself first; a tuple is one explicit path.

        Raises:
            UsageError: A path is not reached, or an object is detached, new, or another session's.

        Example:
            `users.load(found, User.orders, Order.items)`
        """
        fill(self.session, self._entity, objects, paths)

    # Writing

    def add(self, obj: T) -> T:
        """Add a new object to the session, which writes it when it flushes.

        Returns:
            The object.

        Raises:
            UsageError: It is not of this entity.

        Example:
            `user = users.add(User(name="Ada"))`
        """
        return self.add_all([obj])[0]

    def add_all(self, objects: Iterable[T]) -> builtins.list[T]:
        """Add new objects to the session, which writes them when it flushes.

        Returns:
            The objects.

        Raises:
            UsageError: One is not of this entity; none was added.

        Example:
            `users.add_all([User(name="Ada"), User(name="Grace")])`
        """
        if isinstance(objects, self._entity.cls):
            raise UsageError("add_all takes a list of objects, not one", hint=f"write add() for one {self._entity.name}")
        added = [self._entity.member(each) for each in objects]
        self.session.add_all(added)
        return added

    def update(self, *filters: Filter, values: Values) -> int:
        """Write values to the rows that filters select, in the database; objects of the session follow.

        Args:
            filters: Which rows; `true()` for all.
            values: What to write, by attribute; SQL expressions are fine.

        Returns:
            The number of rows.

        Raises:
            UsageError: There is no filter, a filter cannot mean what was written, or a value names no column.

        Example:
            `users.update(User.active, values={User.plan: "free"})`
        """
        return writes.update(self.session, self._entity, filters, values)

    def delete(self, *filters: Filter) -> int:
        """Delete the rows that filters select, in the database; objects of the session follow.

        Args:
            filters: Which rows; `true()` for all.

        Returns:
            The number of rows.

        Raises:
            UsageError: There is no filter, or one cannot mean what was written.

        Example:
            `users.delete(User.deleted_at < cutoff)`
        """
        return writes.delete(self.session, self._entity, filters)

    def upsert(self, obj: T, *, key: Sequence[Attribute]) -> T:
        """Insert a new object, or write what was set on it over the row that has its key, in one statement.

        Args:
            obj: A new object; it stays out of the session.
            key: The attributes of a unique key.

        Returns:
            The row as it is now, as an object of the session.

        Raises:
            UsageError: The object is not new or carries related objects, or the key is none of the entity's.
            UnsupportedError: The database has no such statement, or the entity is kept in several tables.

        Example:
            `user = users.upsert(User(email="a@b", plan="free"), key=[User.email])`
        """
        return upsert(self.session, self._entity, obj, key)

    def _prepare(self, statement: Select[T], policy: Policy | str | None, lock: Lock | None) -> Select[T]:
        session = self.session
        statement = apply_policy(statement, session, policy, self.policy)
        return statement if lock is None else statements.locked(statement, lock, self._entity, session)

    def _fetch(self, statement: Select[T]) -> ScalarResult[T]:
        result = self.session.scalars(statement)
        return result.unique() if _internals.needs_unique(result) else result

    def _streaming(
        self, criteria: tuple[Criterion[T], ...], order_by: Order | None, batch: int, policy: Policy | str | None
    ) -> Select[T]:
        statement = statements.read(self._entity, criteria, order_by=order_by)
        return self._prepare(statement.execution_options(yield_per=statements.batch_size(batch)), policy, None)

    def _batches(
        self, criteria: tuple[Criterion[T], ...], order_by: Order | None, size: int, policy: Policy | str | None
    ) -> PagePlan[T]:
        from dal.paging.batches import planned_batches

        statement = self._prepare(statements.read(self._entity, criteria, order_by=order_by), policy, None)
        return planned_batches(self.session, statement, size)

    def _yield(self, statement: Select[T]) -> Iterator[T]:
        with closing(self.session.scalars(statement)) as result:
            yield from result

    def _found(self, how_many: str, statement: Select[T]) -> tuple[str]:
        where = "" if statement.whereclause is None else f" where {statement.whereclause}"
        return (f"there is {how_many} {self._entity.name}{where}",)


Repository._argument = T
