"""Where a page starts and ends: order, keyset, signed cursors, pages and totals.

The steps can be had apart: `plan()` makes a `PagePlan` of a SELECT, `read()` reads a `Window` of it in one call, `shape()`
makes the `Page`, `count()` the total; `get_page()` does all of them.
"""

from dal.paging.cursor import Signer, signer_of
from dal.paging.keyset import Position
from dal.paging.page import Edge, Page, shape
from dal.paging.pages import MAX_OFFSET, PageRequest, dialect_of, get_page, read_page
from dal.paging.plan import PagePlan, plan
from dal.paging.settings import Cursors, cursors_of, using_cursors
from dal.paging.totals import Total, Totals, count
from dal.paging.window import Window, read, window_of

__all__ = [
    "MAX_OFFSET",
    "Cursors",
    "Edge",
    "Page",
    "PagePlan",
    "PageRequest",
    "Position",
    "Signer",
    "Total",
    "Totals",
    "Window",
    "count",
    "cursors_of",
    "dialect_of",
    "get_page",
    "plan",
    "read",
    "read_page",
    "shape",
    "signer_of",
    "using_cursors",
    "window_of",
]
