"""Pages in Litestar: parameters from the query string, typed answers, and 400 for a cursor that is none.

    @get("/users", dependencies={"params": page_params(max_size=100)}, exception_handlers={CursorError: answer_cursor_error})
    async def users(params: NamedDependency[PageParams], session: NamedDependency[AsyncSession]) -> PageOut[UserOut]:
        page = await AsyncUsers(session).page(User.active, order_by=[User.name], **params)
        return PageOut.of(page, UserOut)

`ConnectionOut` and `connection_params` are the same for Relay: `first`, `after`, `last`, `before`, edges and pageInfo.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from dal._extras import require
from dal.errors import CursorError
from dal.paging.page import Page
from dal.paging.totals import Totals
from dal.paging.web import LONGEST_CURSOR, PageParams, page_info, simple_params, simple_total
from dal.paging.web import connection_params as _connection_params

for _module in ("litestar", "msgspec"):
    require(_module, extra="frameworks", purpose="dal.paging.litestar")

import msgspec  # noqa: E402
from litestar import MediaType, Request, Response  # noqa: E402
from litestar.di import Provide  # noqa: E402
from litestar.params import Parameter  # noqa: E402

__all__ = [
    "ConnectionOut",
    "EdgeOut",
    "PageInfoOut",
    "PageOut",
    "PageParams",
    "TotalOut",
    "answer_cursor_error",
    "connection_params",
    "page_params",
]

T = TypeVar("T")

_Cursor = Annotated[str | None, Parameter(max_length=LONGEST_CURSOR)]


class TotalOut(msgspec.Struct):
    """How many rows there are in all; where not exact, at least or about as many."""

    value: int
    exact: bool


class PageOut(msgspec.Struct, Generic[T]):
    """A page as an answer.

    Example:
        `return PageOut.of(page, UserOut)`
    """

    items: list[T]
    next: str | None
    previous: str | None
    total: TotalOut | None = None

    @classmethod
    def of(cls, page: Page[Any], item: type[T]) -> PageOut[T]:
        """Make the answer of a page.

        Args:
            page: The page.
            item: What its items become: a msgspec.Struct or a dataclass, filled by attribute name.
        """
        return PageOut(_converted(page.items, item), page.next, page.previous, _total(page))


class EdgeOut(msgspec.Struct, Generic[T]):
    """An item and its cursor, as Relay wants them."""

    node: T
    cursor: str


class PageInfoOut(msgspec.Struct, rename="camel"):
    """What Relay wants to know of a page."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


class ConnectionOut(msgspec.Struct, Generic[T], rename="camel"):
    """A page as a Relay connection.

    Example:
        `return ConnectionOut.of(page, UserOut)`
    """

    edges: list[EdgeOut[T]]
    page_info: PageInfoOut
    total: TotalOut | None = None

    @classmethod
    def of(cls, page: Page[Any], item: type[T]) -> ConnectionOut[T]:
        """Make the connection of a page.

        Args:
            page: The page.
            item: What its items become: a msgspec.Struct or a dataclass, filled by attribute name.
        """
        nodes = _converted(page.items, item)
        edges = [EdgeOut(node, edge.cursor) for node, edge in zip(nodes, page.edges, strict=True)]
        return ConnectionOut(edges, PageInfoOut(**page_info(page)), _total(page))


def page_params(*, size: int = 50, max_size: int = 100, total: Totals = "none") -> Provide:
    """Make a dependency that reads `size`, `after` and `before` from the query string.

    Args:
        size: Rows of a page where the client names none.
        max_size: Rows of a page at most; more is answered 400.
        total: The total of every page.

    Returns:
        The dependency, for `dependencies={"params": ...}`.
    """
    rows = Annotated[int, Parameter(ge=1, le=max_size)]

    def params(size: Any = size, after: Any = None, before: Any = None) -> PageParams:
        return simple_params(size, after, before, total)

    # Litestar reads annotations by name, and would not find what is of this call only.
    params.__annotations__ = {"size": rows, "after": _Cursor, "before": _Cursor, "return": PageParams}
    return Provide(params, sync_to_thread=False)


def connection_params(*, size: int = 50, max_size: int = 100, total: Totals = "none") -> Provide:
    """Make a dependency that reads Relay's `first`, `after`, `last` and `before` from the query string.

    Args:
        size: Rows of a page where the client names none.
        max_size: Rows of a page at most; more is answered 400.
        total: The total of every page.

    Returns:
        The dependency, for `dependencies={"params": ...}`.
    """
    rows = Annotated[int | None, Parameter(ge=1, le=max_size)]

    def params(first: Any = None, after: Any = None, last: Any = None, before: Any = None) -> PageParams:
        return _connection_params(size, first, after, last, before, total)

    params.__annotations__ = {"first": rows, "after": _Cursor, "last": rows, "before": _Cursor, "return": PageParams}
    return Provide(params, sync_to_thread=False)


def answer_cursor_error(_: Request[Any, Any, Any], error: CursorError) -> Response[dict[str, Any]]:
    """Answer 400; for `exception_handlers={CursorError: answer_cursor_error}`."""
    content = {"status_code": CursorError.http_status, "detail": str(error.args[0])}
    return Response(content, status_code=CursorError.http_status, media_type=MediaType.JSON)


def _converted(items: list[Any], item: type[T]) -> list[T]:
    return [msgspec.convert(each, item, from_attributes=True) for each in items]


def _total(page: Page[Any]) -> TotalOut | None:
    total = simple_total(page)
    return None if total is None else TotalOut(**total)
