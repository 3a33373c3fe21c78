"""Walk a SELECT page by page, and look at each page as if it were the only one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import Session

from dal.paging import Page, get_page

MOST_PAGES = 500


def walk(session: Session, statement: Select[Any], *, size: int, backwards: bool = False, **options: Any) -> list[Any]:
    """Return all items, in order; forwards from the first page, or backwards from the end.

    Every page but the last is full, names a neighbour where there is one, and leads back to where it came from.
    """
    found: list[Any] = []
    last = _last(session, statement, size, options) if backwards else None
    page = (
        get_page(session, statement, size=size, before=last, **options) if last else _first(session, statement, size, options)
    )
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


def _first(session: Session, statement: Select[Any], size: int, options: dict[str, Any]) -> Page[Any]:
    page = get_page(session, statement, size=size, **options)
    assert page.previous is None
    return page


def _last(session: Session, statement: Select[Any], size: int, options: dict[str, Any]) -> str | None:
    """Return a cursor behind the last row: that of the empty page after the last one."""
    everything = get_page(session, statement, size=MOST_PAGES, **options)
    assert everything.next is None
    if not everything.items:
        return None
    beyond = get_page(session, statement, size=size, after=everything.edges[-1].cursor, **options)
    assert beyond.items == []
    assert beyond.next is None
    return beyond.previous
