"""The checks of single settings: each returns the value as it is kept, or says what is accepted instead."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from dal.durations import Duration, seconds
from dal.errors import ConfigError

__all__ = ["database_url", "positive_duration", "statement", "truth", "whole_number"]


def whole_number(value: object, name: str, *, at_least: int) -> int:
    """Return a whole number that is not below a bound.

    Raises:
        ConfigError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigError(f"{name}: {value!r} is not accepted", hint=f"write a whole number, {at_least} or more")
    return value


def positive_duration(value: Duration, name: str) -> float:
    """Return a duration longer than nothing, in seconds.

    Raises:
        ConfigError: It is something else.
    """
    found = seconds(value, name=name)
    if found == 0:
        raise ConfigError(f"{name}: {value!r} is not accepted", hint="write a duration longer than nothing, such as '30s'")
    return found


def truth(value: object, name: str) -> bool:
    """Return a truth value.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(value, bool):
        accepted = "true, false or 'always'" if name == "test_on_borrow" else "true or false"
        raise ConfigError(f"{name}: {value!r} is not accepted", hint=f"write {accepted}")
    return value


def statement(value: object, name: str) -> str:
    """Return the text of a statement.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{name}: {value!r} is not accepted", hint="write a statement such as 'SELECT 1'")
    return value


def database_url(value: object) -> URL:
    """Return a database URL whose password is masked wherever it is shown.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        found = make_url(value) if isinstance(value, (str, URL)) else None
    except (ArgumentError, ValueError):
        found = None
    if found is None:
        raise ConfigError("url: this is not a database URL", hint="postgresql+psycopg://user:password@host:5432/database")
    if found.host is not None and "@" in found.host:
        raise ConfigError("url: there are two @ in it, so the password ends too early", hint="write an @ in a password as %40")
    if "password" in found.query and found.get_backend_name() == "postgresql":
        # As a part of the query it would be shown wherever the URL is.
        given = found.query["password"]
        found = found.set(password=given if isinstance(given, str) else given[-1]).difference_update_query(["password"])
    return found
