"""What cannot be meant is refused with the line to write, before a server is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import dal
from dal import Database, UsageError
from tests.streams.models import Order

loose: Any = dal
"""dal without its types, which refuse most of this sooner."""


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: loose.Webhook(None), "begins with http"),
        (lambda: loose.JsonLines(None), "None is no path"),
        (lambda: loose.RedisStream(None, "orders"), "a URL and a name"),
        (lambda: loose.RedisStream("redis://localhost", ""), "a URL and a name"),
        (lambda: loose.Dashboard(port=-1), "port=-1 is no port"),
    ],
)
def test_ends_that_lead_nowhere(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        make()
    assert raised.value.hint


def test_a_window_of_nothing() -> None:
    with Database("postgresql+psycopg://app@localhost:1/shop") as db, pytest.raises(UsageError, match="names nothing"):
        db.changes(Order, name="orders").window(seconds=1, by=Order.shop, aggregate=5)  # type: ignore[arg-type]
