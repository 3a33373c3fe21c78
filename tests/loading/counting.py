"""The expectation of a loading test is a number of statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from dal.testing import Statements, count_statements


@contextmanager
def expect(session: Session | AsyncSession, statements: int) -> Iterator[Statements]:
    """Expect a number of statements in a block."""
    with count_statements(session) as seen:
        yield seen
    assert seen.count == statements, f"{seen.count} statements instead of {statements}:\n{seen}"
