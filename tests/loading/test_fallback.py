"""A private name is taken away from SQLAlchemy in another process, and what dal loads stays the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_RELATIONSHIPS = (
    "User.orders: 6",
    "User.profile: 6",
    "User.tags: 6",
    "User.big_orders: 6",
    "Order.user: 9",
    "Item.product: 18",
    "Category.children: 7",
    "Place.visits: 3",
    "Engineer.tools: 3",
    "Tag.users: 3",
)


def load_without(name: str) -> list[str]:
    """Run the loads in a process where SQLAlchemy calls one of its own names differently."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.loading.without_hooks", name],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "missing", "statements"),
    [
        ("sqlalchemy.orm.attributes:_AttributeImpl.callable_", "AttributeImpl.callable_", 1),
        ("sqlalchemy.orm.strategies:_SelectInLoader._load_for_path", "_SelectInLoader._load_for_path", 2),
        ("sqlalchemy.orm.strategies:._SelectInLoader", "_SelectInLoader._load_for_path", 2),
        ("sqlalchemy.orm.strategies:._DeferredColumnLoader", "_DeferredColumnLoader._load_for_state", 1),
        ("sqlalchemy.orm.strategies:._LazyLoader", "_LazyLoader._load_for_state", 1),
        ("sqlalchemy.orm.path_registry:._DEFAULT_TOKEN", "_DEFAULT_TOKEN", 1),
    ],
)
def test_loading_goes_on_without_a_hook(name: str, missing: str, statements: int) -> None:
    said = load_without(name)
    assert said[0] == f"missing: {missing}"
    for relationship in _RELATIONSHIPS:
        assert f"{relationship} objects, {statements} statements" in said
    for column in ("User.bio: 6", "User.street: 6", "expired: 6"):
        assert f"{column} objects, 1 statements" in said
    assert f"onwards: {2 * statements} statements" in said
    assert "strict: User.orders was not loaded by the query" in "\n".join(said)
