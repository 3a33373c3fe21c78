"""Walk a SELECT page by page, and look at each page as if it were the only one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import Session

from dal.paging import get_page

MOST_PAGES = 500


def walk(session: Session, statement: Select[Any], *, size: int, backwards: bool = False, **options: Any) -> list[Any]:
    """Return all items, in order; forwards from the first page, or backwards from the end.

    Every page but the last is full, names a neighbour where there is one, and leads back to where it came from.
    """
    found: list[Any] = []
    page = get_page(session, statement, size=size, number=-1 if backwards else 1, **options)
    assert (page.next if backwards else page.previous) is None
    for _ in range(MOST_PAGES):
        found = [*page.items, *found] if backwards else [*found, *page.items]
        further = page.previous if backwards else page.next
        if further is None:
            return found
        assert len(page) == size, "only the last page may be short"
        side: dict[str, Any] = {"before": further} if backwards else {"after": further}
        after = get_page(session, statement, size=size, **side, **options)
        assert after.items, "a page that was said to be there is empty"
        back = after.next if backwards else after.previous
        assert back is not None
        page = after
    raise AssertionError("the walk does not end")
