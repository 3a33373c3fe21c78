"""Pages in FastAPI: parameters from the query string, typed answers, and 400 for a cursor that is none.

    app = FastAPI()
    answer_cursor_errors(app)

    @app.get("/users", response_model=PageOut[UserOut])
    def users(params: Annotated[PageParams, Depends(page_params(max_size=100))], session: SessionDep) -> Page[User]:
        return Users(session).page(User.active, order_by=[User.name], **params)

`ConnectionOut` and `connection_params` are the same for Relay: `first`, `after`, `last`, `before`, edges and pageInfo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic, Self, TypeVar

from dal._extras import require
from dal.errors import CursorError
from dal.paging.page import Page
from dal.paging.totals import Totals
from dal.paging.web import LONGEST_CURSOR, PageParams, page_info, simple_params, simple_total
from dal.paging.web import connection_params as _connection_params

for _module in ("fastapi", "pydantic"):
    require(_module, extra="frameworks", purpose="dal.paging.fastapi")

from fastapi import FastAPI, Query, Request  # noqa: E402
from fastapi.responses import JSONResponse  # noqa: E402
from pydantic import BaseModel, ConfigDict  # noqa: E402
from pydantic.alias_generators import to_camel  # noqa: E402

__all__ = [
    "ConnectionOut",
    "EdgeOut",
    "PageInfoOut",
    "PageOut",
    "PageParams",
    "TotalOut",
    "answer_cursor_errors",
    "connection_params",
    "page_params",
]

T = TypeVar("T")

_Cursor = Annotated[str | None, Query(max_length=LONGEST_CURSOR)]


class TotalOut(BaseModel):
    """How many rows there are in all; where not exact, at least or about as many."""

    model_config = ConfigDict(from_attributes=True)

    value: int
    exact: bool


class PageOut(BaseModel, Generic[T]):
    """A page as an answer; a `Page` returned from a handler becomes one by itself.

    Example:
        `@app.get("/users", response_model=PageOut[UserOut])`
    """

    model_config = ConfigDict(from_attributes=True)

    items: list[T]
    next: str | None
    previous: str | None
    total: TotalOut | None = None


class _Camel(BaseModel):
    model_config = ConfigDict(from_attributes=True, alias_generator=to_camel, populate_by_name=True)


class EdgeOut(_Camel, Generic[T]):
    """An item and its cursor, as Relay wants them."""

    node: T
    cursor: str


class PageInfoOut(_Camel):
    """What Relay wants to know of a page."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


class ConnectionOut(_Camel, Generic[T]):
    """A page as a Relay connection.

    Example:
        `return ConnectionOut[UserOut].of(users.page(order_by=[User.name], **params))`
    """

    edges: list[EdgeOut[T]]
    page_info: PageInfoOut
    total: TotalOut | None = None

    @classmethod
    def of(cls, page: Page[Any]) -> Self:
        """Make the connection of a page."""
        return cls.model_validate({"edges": page.edges, "page_info": page_info(page), "total": simple_total(page)})


def page_params(*, size: int = 50, max_size: int = 100, total: Totals = "none") -> Callable[..., PageParams]:
    """Make a dependency that reads `size`, `after` and `before` from the query string.

    Args:
        size: Rows of a page where the client names none.
        max_size: Rows of a page at most; more is answered 422.
        total: The total of every page.

    Returns:
        What `Depends()` takes.
    """
    rows = Annotated[int, Query(ge=1, le=max_size)]

    def params(size: Any = size, after: Any = None, before: Any = None) -> PageParams:
        return simple_params(size, after, before, total)

    # FastAPI reads annotations by name, and would not find what is of this call only.
    params.__annotations__ = {"size": rows, "after": _Cursor, "before": _Cursor, "return": PageParams}
    return params


def connection_params(*, size: int = 50, max_size: int = 100, total: Totals = "none") -> Callable[..., PageParams]:
    """Make a dependency that reads Relay's `first`, `after`, `last` and `before` from the query string.

    Args:
        size: Rows of a page where the client names none.
        max_size: Rows of a page at most; more is answered 422.
        total: The total of every page.

    Returns:
        What `Depends()` takes.
    """
    rows = Annotated[int | None, Query(ge=1, le=max_size)]

    def params(first: Any = None, after: Any = None, last: Any = None, before: Any = None) -> PageParams:
        return _connection_params(size, first, after, last, before, total)

    params.__annotations__ = {"first": rows, "after": _Cursor, "last": rows, "before": _Cursor, "return": PageParams}
    return params


def answer_cursor_errors(app: FastAPI) -> None:
    """Let an application answer 400 where a request carries a cursor that is none of ours, is of another query or expired.

    Args:
        app: The application.
    """
    app.add_exception_handler(CursorError, _answer)


def _answer(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error.args[0])}, status_code=CursorError.http_status)
