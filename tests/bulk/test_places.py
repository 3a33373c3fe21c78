"""Writers through the wrong door, keys that are no list: refused before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.orm import Session

import dal
from dal import AsyncDatabase, BulkWriter, Database, UsageError
from tests.bulk.models import City

# As a program without types would call them.
untyped: Any = dal
URL = "postgresql+psycopg://app@localhost/shop"


@pytest.fixture
def db() -> Iterator[Database]:
    with Database(URL) as db:
        yield db


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda db: untyped.BulkWriter(AsyncDatabase(URL), City), "AsyncBulkWriter(db, City)"),
        (lambda db: untyped.AsyncBulkWriter(db, City), "AsyncBulkWriter(db, Flight)"),
        (lambda db: untyped.AsyncBulkWriter(Session(), City), "AsyncBulkWriter(db, Flight)"),
        (lambda db: untyped.BatchWriter(None, City), "BatchWriter(db, City)"),
        (lambda db: untyped.BatchWriter(db.engine, City), "BatchWriter(db, City)"),
        (lambda db: untyped.BatchWriter(Session(), City), "BatchWriter(db, City)"),
        (lambda db: untyped.BatchWriter(AsyncDatabase(URL), City), "BatchWriter(db, City)"),
        (lambda db: untyped.AsyncBatchWriter(db, City), "AsyncBatchWriter(db, City)"),
        (lambda db: untyped.AsyncBatchWriter(None, City), "AsyncBatchWriter(db, City)"),
    ],
)
def test_a_place_that_cannot_be_written_to(db: Database, make: Callable[[Any], object], hint: str) -> None:
    with pytest.raises(UsageError, match="got") as caught:
        make(db)
    assert hint in caught.value.hint


@pytest.mark.parametrize("keys", [7, "abc", b"abc", {"id": 7}, None, City(id=7)])
def test_one_key_is_no_list_of_keys(db: Database, keys: Any) -> None:
    with pytest.raises(UsageError, match=f"keys is a {type(keys).__name__}") as caught:
        BulkWriter(db, City).delete(keys)
    assert caught.value.hint == "write a list, even for one key: delete([key])"
