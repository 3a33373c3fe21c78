"""The front door: what is public, and what opening it costs."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import dal

HEAVY = [
    "alembic",
    "greenlet._none",
    "pydantic",
    "pytest",
    "redis",
    "rich",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy_utils",
    "typer",
    "yaml",
]


def test_every_public_name_is_there_and_sorted() -> None:
    assert list(dal.__all__) == sorted(dal.__all__, key=lambda name: (not name.isupper(), name))
    assert all(getattr(dal, name) is not None for name in dal.__all__)
    assert set(dir(dal)) == set(dal.__all__)


def test_what_is_public_is_in_all() -> None:
    own = {
        name
        for name, value in vars(dal).items()
        if not isinstance(value, ModuleType) and getattr(value, "__module__", "").startswith("dal.")
    }
    assert own <= set(dal.__all__)


def test_nothing_heavy_comes_in() -> None:
    code = f"import sys, dal; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_name_that_is_not_there() -> None:
    code = "import dal\ntry:\n    dal.Databas\nexcept AttributeError as error:\n    print(error)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "no attribute 'Databas'" in out
