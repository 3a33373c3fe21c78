"""Who can load what is asked for: the pages, objects and areas of pagers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from dal.prefetch.requests import Request

__all__ = ["Loaded", "Source"]

Loaded = Literal["kept", "dropped", "there"]
"""What came of loading something ahead: it is in the cache, a write overtook it, or it was there already."""


class Source(Protocol):
    """Who can load the requests of a template: a pager."""

    def holds(self, request: Request) -> bool:
        """Tell whether it is in the cache."""
        ...

    def load(self, requests: Sequence[Request]) -> Loaded:
        """Load requests into the cache: kept, dropped because a write overtook them, or there already."""
        ...

    def describe(self, request: Request) -> str:
        """Tell what a request asks for, in words."""
        ...
