"""Objects by their primary key, one at a time: `pager.get(key)`, with the neighbouring keys read ahead in one IN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, inspect, tuple_
from sqlalchemy.orm import Mapper, Session

from dal.errors import UsageError
from dal.prefetch.kept import Kept
from dal.prefetch.parameters import Arguments, arguments_of, digest
from dal.prefetch.query import Query
from dal.prefetch.requests import Request
from dal.prefetch.sources import Loaded

__all__ = ["Keys"]

T = TypeVar("T")


class Keys(Generic[T]):
    """The objects of one statement by key; the source of their requests.

    A key is part of the arguments, under the names of the key's attributes, so that it can be learned where keys come from.

    Args:
        query: The statement.
        template: What the requests are known by.
        kept: Where objects are kept.

    Raises:
        UsageError: The statement does not select one mapped class.
    """

    def __init__(self, query: Query[T], template: str, kept: Kept) -> None:
        self.template = template
        self._query = query
        self._kept = kept
        described = query.select.column_descriptions
        found = inspect(described[0]["expr"], raiseerr=False) if len(described) == 1 else None
        if not isinstance(found, Mapper) or query.planned.wrapped:
            raise UsageError(
                f"get() reads one object by its key, and the statement selects {query.name}", hint="page a select(User) for it"
            )
        self._mapper = found
        self._names: tuple[str, ...] = tuple(found.get_property_by_column(column).key for column in found.primary_key)
        self._columns: tuple[ColumnElement[Any], ...] = tuple(getattr(found.class_, name) for name in self._names)
        clash = query.names & set(self._names)
        if clash:
            raise UsageError(
                f"the parameter {min(clash)!r} has the name of a part of the key of {query.name}", hint="name it differently"
            )

    def request(self, key: object, arguments: Arguments) -> Request:
        """Return what a key asks for.

        Raises:
            UsageError: It is no key of the class.
        """
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) != len(self._names):
            names = ", ".join(self._names)
            hint = f"write get(({names}))" if len(self._names) > 1 else f"write get({names})"
            raise UsageError(f"the key of {self._query.name} is made of {names}, not of {key!r}", hint=hint)
        own = arguments_of(dict(zip(self._names, parts, strict=True)), frozenset(self._names))
        return Request(self.template, tuple(sorted((*arguments, *own), key=lambda each: each[0])))

    def near(self, request: Request, how_near: int) -> tuple[Request, ...]:
        """Return the requests of the keys beside one, the nearest first; none where keys are no numbers."""
        if len(self._names) != 1:
            return ()
        (name,) = self._names
        value = dict(request.arguments)[name]
        if not isinstance(value, int) or isinstance(value, bool):
            return ()
        around = [value + side * step for step in range(1, how_near + 1) for side in (1, -1)]
        return tuple(self._with(request, name, each) for each in around if each > 0 or value <= 0)

    def fetch(self, request: Request) -> tuple[T | None, bool]:
        """Return an object, or None, and whether a statement was sent."""
        found, sent = self._kept.fetch_many([self._key(request)], lambda session, _: self._read(session, [request]))
        return found[0], sent

    def holds(self, request: Request) -> bool:
        """Tell whether it is in the cache."""
        return self._kept.holds(self._key(request))

    def load(self, requests: Sequence[Request]) -> Loaded:
        """Load objects into the cache, in one statement."""
        of = {self._key(request): request for request in requests}
        return self._kept.prime_many(list(of), lambda session, missing: self._read(session, [of[key] for key in missing]))

    def describe(self, request: Request) -> str:
        """Tell what a request asks for."""
        return f"get of {self._query.describe(request.arguments)}"

    def _with(self, request: Request, name: str, value: int) -> Request:
        arguments = tuple((each, value if each == name else old) for each, old in request.arguments)
        return Request(self.template, arguments)

    def _key(self, request: Request) -> str:
        return f"object {self.template} {digest(request.arguments)}"

    def _read(self, session: Session, requests: Sequence[Request]) -> Mapping[str, Any]:
        """Read objects that differ in their key only."""
        wanted = {self._of(request): request for request in requests}
        first = requests[0]
        others = tuple(each for each in first.arguments if each[0] not in self._names)
        statement = self._query.bound(others).order_by(None).where(self._condition(list(wanted)))
        found: dict[str, Any] = dict.fromkeys(map(self._key, requests))
        for item in session.scalars(statement).unique():
            identity = self._mapper.primary_key_from_instance(item)
            found[self._key(wanted[tuple(identity)])] = item
        return found

    def _of(self, request: Request) -> tuple[Any, ...]:
        given = dict(request.arguments)
        return tuple(given[name] for name in self._names)

    def _condition(self, keys: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
        if len(self._columns) == 1:
            column = self._columns[0]
            return column == keys[0][0] if len(keys) == 1 else column.in_([key[0] for key in keys])
        return tuple_(*self._columns).in_(keys)
