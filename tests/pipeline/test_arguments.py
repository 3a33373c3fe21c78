"""What cannot be meant is refused with the line to write, before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

import dal
from dal import Database, UsageError
from tests.pipeline.stages import Item

loose: Any = dal
"""dal without its types, which refuse most of this sooner."""


@pytest.fixture(scope="module")
def db() -> Iterator[Database]:
    with Database("sqlite://") as db:
        yield db


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda db: loose.Pipeline([1]).store([]).run(max_rejected=-1), "max_rejected=-1"),
        (lambda db: loose.Pipeline([1]).store([]).run(max_rejected="3"), "max_rejected='3'"),
        (lambda db: loose.Pipeline([1]).store([]).run(progress="yes"), "progress='yes' is neither"),
        (lambda db: loose.read_select(None, select(Item)), "None is no database"),
        (lambda db: loose.BuildIndexes(None), "None is no Database"),
        (lambda db: loose.Dump(None, "x.dump"), "None is no Database"),
        (lambda db: loose.Dump(db, None), "None is no path"),
    ],
)
def test_arguments_that_mean_nothing(db: Database, call: Callable[[Any], object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        call(db)
    assert raised.value.hint
