"""Where a pager keeps what it has loaded: the database's cache, in the form the pager gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from dal.cache import Cache
from dal.cache.cache import Form
from dal.cache.many import fetch_many
from dal.prefetch.ahead import careful, in_time
from dal.prefetch.sources import Loaded

__all__ = ["Kept", "Load"]

Load = Callable[[Session, Sequence[Any]], Mapping[Any, Any]]
"""Reads the values of several keys."""


class Kept:
    """The cache as a pager uses it.

    Args:
        cache: The database's cache.
        form: How values are given: `copies`, `shapes` or `dictionaries`.
    """

    def __init__(self, cache: Cache, form: Form[Any]) -> None:
        self._cache = cache
        self._form = form

    def holds(self, key: str) -> bool:
        """Tell whether something is kept in this process."""
        return self._cache.has(key)

    def fetch(self, key: str, load: Callable[[Session], Any]) -> tuple[Any, bool]:
        """Return a value, and whether a statement was sent for it by this caller."""
        sent = False

        def noting(session: Session) -> Any:
            nonlocal sent
            sent = True
            return load(session)

        return self._cache.fetch(key, noting, form=self._form), sent

    def fetch_many(self, keys: Sequence[str], load: Load) -> tuple[list[Any], bool]:
        """Return several values, what is missing read in one go, and whether a statement was sent."""
        sent = False

        def noting(session: Session, missing: Sequence[Any]) -> Mapping[Any, Any]:
            nonlocal sent
            sent = True
            return load(session, missing)

        return fetch_many(self._cache, keys, noting, form=self._form), sent

    def prime_many(self, keys: Sequence[str], load: Load) -> Loaded:
        """Load several values in one go before they are asked for."""
        if all(map(self._cache.has, keys)):
            return "there"
        with in_time():
            fetch_many(self._cache, keys, lambda session, missing: load(careful(session), missing))
        return "kept" if all(map(self._cache.has, keys)) else "dropped"

    def prime(self, key: str, load: Callable[[Session], Any]) -> Loaded:
        """Load a value before it is asked for."""
        if self._cache.has(key):
            return "there"
        with in_time():
            return "kept" if self._cache.prime(key, lambda session: load(careful(session))) else "dropped"
