"""What the helpers for web frameworks share: the arguments of a page as a request carries them, and the shape of answers.

`dal.paging.fastapi` and `dal.paging.litestar` are imported when used, and need their framework.
"""

from __future__ import annotations

from typing import Any, TypedDict

from dal.errors import CursorError
from dal.paging.page import Page
from dal.paging.totals import Totals

__all__ = ["LONGEST_CURSOR", "PageParams", "connection_params", "page_info", "simple_params", "simple_total"]

LONGEST_CURSOR = 8192


class PageParams(TypedDict):
    """The arguments of a page, checked: `users.page(User.active, order_by=[User.name], **params)`."""

    size: int
    after: str | None
    before: str | None
    number: int | None
    total: Totals


def simple_params(size: int, after: str | None, before: str | None, total: Totals) -> PageParams:
    """Return the arguments of a page that `size`, `after` and `before` ask for.

    Raises:
        CursorError: Both cursors were sent.
    """
    if after is not None and before is not None:
        raise CursorError("after and before cannot both say where a page begins", hint="answer 400; send one of them")
    return {"size": size, "after": after, "before": before, "number": None, "total": total}


def connection_params(
    size: int, first: int | None, after: str | None, last: int | None, before: str | None, total: Totals
) -> PageParams:
    """Return the arguments of a page that Relay's `first`, `after`, `last` and `before` ask for.

    Raises:
        CursorError: They ask for both directions.
    """
    if (first is not None or after is not None) and (last is not None or before is not None):
        raise CursorError(
            "a connection is read forwards (first, after) or backwards (last, before)", hint="answer 400; send one pair of them"
        )
    number = -1 if last is not None and before is None else None
    return {"size": first or last or size, "after": after, "before": before, "number": number, "total": total}


def page_info(page: Page[Any]) -> dict[str, Any]:
    """Return what Relay's `pageInfo` says of a page."""
    edges = page.edges
    return {
        "has_next_page": page.has_next,
        "has_previous_page": page.has_previous,
        "start_cursor": edges[0].cursor if edges else None,
        "end_cursor": edges[-1].cursor if edges else None,
    }


def simple_total(page: Page[Any]) -> dict[str, Any] | None:
    """Return a page's total as a table."""
    return None if page.total is None else {"value": page.total.value, "exact": page.total.exact}
