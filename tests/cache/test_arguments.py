"""What cannot be meant is refused with the line to write, before anything is fetched or spoiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dal import Database, MemoryCache, UsageError


@pytest.fixture(scope="module")
def db() -> Iterator[Database]:
    with Database("sqlite://", cache=MemoryCache()) as db:
        yield db


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda db: db.cache.fetch("a", None), "None cannot fetch"),
        (lambda db: db.cache.prime("a", None), "None cannot fetch"),
        (lambda db: db.cache.fetch("a", lambda session: [1], tables="users"), "tables='users' is no list"),
        (lambda db: db.cache.fetch("a", lambda session: [1], tables=5), "tables=5 is no list"),
        (lambda db: db.cache.fetch("b", lambda session: [1], form="copies"), "form='copies' is none"),
        (lambda db: db.cache.spoil("users", within=db), "no session or connection"),
        (lambda db: db.cache.watch(5), "5 is no engine"),
    ],
)
def test_arguments_that_mean_nothing(db: Database, call: Callable[[Any], object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        call(db)
    assert raised.value.hint
