"""Pager: the pages of one query, out of the cache, with those that come next already in it.

    pager = db.pager(select(User).where(User.active), order_by=[User.name], prefetch=sequential())
    page = pager.page(client=visitor)                        cache, else database; then what comes next, in the background
    page = pager.page(after=page.next, client=visitor)

Make one for each query, for as long as the program runs or for each request: pagers of the same query share what they keep and
what they learn. It reads in transactions of its own, so it sees what is committed and nothing else; inside a transaction that
has written, use a repository's `page()`. What it gives is detached and belongs to the caller.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import Session

from dal.cache import Cache, copies
from dal.cache.cache import Form
from dal.errors import UsageError
from dal.loading import Policy
from dal.paging import Page, PageRequest, Totals, cursors_of, shape, totals
from dal.prefetch.areas import Areas
from dal.prefetch.cells import Range
from dal.prefetch.clients import client_of
from dal.prefetch.identity import template_of
from dal.prefetch.kept import Kept
from dal.prefetch.keys import Keys
from dal.prefetch.pages import Pages
from dal.prefetch.parameters import arguments_of
from dal.prefetch.predictive import Predictive
from dal.prefetch.prefetcher import Prefetcher
from dal.prefetch.query import Query
from dal.prefetch.requests import Direction, Request, Seen, Strategy
from dal.prefetch.rows import values_of_first
from dal.prefetch.sources import Source
from dal.prefetch.spatial import Spatial

__all__ = ["Pager"]

T = TypeVar("T")

MOST_ROWS = 10_000


class Pager(Generic[T]):
    """The pages of one query; made by `db.pager(...)`.

    Args:
        statement: The SELECT. `bindparam("shop")` in it makes a parameter.
        session: A session of the database, never used to send anything.
        cache: The database's cache.
        prefetcher: The database's prefetcher.
        order_by: A column expression, or a list of them; what tells rows apart is added by itself.
        size: Rows of a page.
        policy: How related data is loaded. Pages are kept with all of it.
        prefetch: A strategy, or several.
        total: Whether and how rows are counted.
        form: How items are given: `copies`, `shapes` or `dictionaries`.
        key: What tells rows apart, where that cannot be seen.

    Raises:
        UsageError: The query cannot be paged or kept, or an argument cannot mean what was written.
    """

    def __init__(
        self,
        statement: Select[T],
        session: Session,
        cache: Cache,
        prefetcher: Prefetcher,
        *,
        order_by: Any = None,
        size: int = 50,
        policy: Policy | str | None = None,
        prefetch: Strategy | Sequence[Strategy] | None = None,
        total: Totals = "none",
        form: Form[Any] | None = None,
        key: Sequence[ColumnElement[Any]] | None = None,
    ) -> None:
        self._session = session
        self._prefetcher = prefetcher
        self._strategies = _strategies(prefetch)
        self._spatial = {bool(each.columns): each for each in self._strategies if isinstance(each, Spatial)}
        self._learns_rows = any(isinstance(each, Predictive) for each in self._strategies)
        self._query = Query(session, statement, order_by, policy, key)
        for each in self._spatial.values():
            self._query.refuse_foreign(each.columns)
        self._kept = Kept(cache, copies if form is None else form)
        rows, how = _size(size), totals.checked(total)
        self._template = template_of(self._query.planned, rows, how)
        self._pages = Pages(self._query, rows, how, self._template, self._kept)
        self._keys: Keys[T] | None = None
        self._areas: Areas[T] | None = None
        self._name(self._pages)

    def __repr__(self) -> str:
        return f"Pager({self._query.name}, size={self._pages.size}, prefetch={list(self._strategies)!r})"

    def page(
        self,
        *,
        after: str | None = None,
        before: str | None = None,
        client: Hashable | None = None,
        values: Mapping[str, Any] | None = None,
        owner: str | None = None,
    ) -> Page[T]:
        """Return a page.

        Args:
            after: The cursor to begin after: another page's `next`.
            before: The cursor to end before: another page's `previous`.
            client: Who asks, to tell visitors apart; by default who `using_client` names.
            values: The values of the statement's parameters.
            owner: Who alone may use the page's cursors: a tenant, a user.

        Returns:
            The page: `items`, `next`, `previous`, `total`.

        Raises:
            UsageError: An argument cannot mean what was written.
            CursorError: The cursor is not one of ours for this query; answer HTTP 400.

        Example:
            `page = pager.page(after=page.next, client=visitor)`
        """
        started = time.perf_counter()
        who = client_of(client)
        arguments = arguments_of(values, self._query.names)
        planned, cursors = self._query.plan(arguments), cursors_of(self._session, owner)
        asked = PageRequest.checked(planned, cursors, size=self._pages.size, after=after, before=before)
        request = self._pages.request(arguments, asked)
        window, total, sent = self._pages.fetch(request)
        page = shape(planned, window, cursors, total)
        direction: Direction = "first" if after is None and before is None else "forwards" if before is None else "backwards"
        seen = Seen(
            who,
            request,
            direction,
            following=self._pages.following(request, window),
            preceding=self._pages.preceding(request, window),
            row=values_of_first(window.items) if self._learns_rows else {},
            at=self._prefetcher.clock(),
        )
        self._demanded(seen, sent, started)
        return page

    def get(self, key: Any, *, client: Hashable | None = None, values: Mapping[str, Any] | None = None) -> T | None:
        """Return the object with a primary key, or None where the statement does not select it.

        Args:
            key: The key; a tuple where it has several parts.
            client: Who asks.
            values: The values of the statement's parameters.

        Returns:
            The object.

        Raises:
            UsageError: It is no key of the class, or the statement selects something else.
        """
        started = time.perf_counter()
        keys = self._keys
        if keys is None:
            keys = self._keys = Keys(self._query, f"{self._template} key", self._kept)
            self._name(keys)
        request = keys.request(key, arguments_of(values, self._query.names))
        found, sent = keys.fetch(request)
        near = self._spatial.get(False)
        row = values_of_first([found]) if self._learns_rows else {}
        nearby = () if near is None else keys.near(request, near.near)
        seen = Seen(client_of(client), request, row=row, nearby=nearby, at=self._prefetcher.clock())
        self._demanded(seen, sent, started)
        return found

    def area(self, x: Range, y: Range, *, client: Hashable | None = None, values: Mapping[str, Any] | None = None) -> list[T]:
        """Return what lies in an area, in no order; for a pager with `prefetch=spatial(Airport.lat, Airport.lon)`.

        Args:
            x: From and to of the first of the two columns, both included.
            y: From and to of the second.
            client: Who asks.
            values: The values of the statement's parameters.

        Returns:
            The rows.

        Raises:
            UsageError: The pager has no `spatial(...)` with columns, a range is none, or too much lies there.

        Example:
            `airports = pager.area((40.0, 42.0), (-75.0, -72.0), client=visitor)`
        """
        started = time.perf_counter()
        areas = self._areas or self._mapped()
        cells = areas.cells(x, y, arguments_of(values, self._query.names))
        found, sent = areas.fetch(cells, x, y)
        request = Request(cells[0].template, cells[0].arguments, tuple(each.position for each in cells))
        seen = Seen(client_of(client), request, nearby=areas.around(cells), made_of=tuple(cells), at=self._prefetcher.clock())
        self._demanded(seen, sent, started)
        return found

    def _mapped(self) -> Areas[T]:
        columns = self._spatial.get(True)
        if columns is None:
            raise UsageError(
                "area() needs to know the two columns of the map",
                hint="db.pager(..., prefetch=spatial(Airport.lat, Airport.lon))",
            )
        template = f"{self._template} {' '.join(columns.names)}"
        self._areas = Areas(self._query, columns, template, self._kept)
        self._name(self._areas)
        return self._areas

    def _name(self, source: Pages[T] | Keys[T] | Areas[T]) -> None:
        known: Source = source
        self._prefetcher.register(source.template, known)

    def _demanded(self, seen: Seen, sent: bool, started: float) -> None:
        self._prefetcher.demanded(seen, self._strategies, sent=sent, seconds=time.perf_counter() - started)


def _strategies(given: Strategy | Sequence[Strategy] | None) -> tuple[Strategy, ...]:
    listed: Any = () if given is None else given if isinstance(given, (list, tuple)) else (given,)
    found: tuple[Strategy, ...] = tuple(listed)
    for each in found:
        if not hasattr(each, "begin") or isinstance(each, type):
            hint = f"write {each.__name__}()" if callable(each) and hasattr(each, "__name__") else "write prefetch=sequential()"
            raise UsageError(f"prefetch: {each!r} is no strategy", hint=hint)
    return found


def _size(size: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_ROWS:
        raise UsageError(f"size is {size!r}", hint=f"size is the number of rows of a page, 1 to {MOST_ROWS:,}")
    return size
