from __future__ import annotations

import pickle

import pytest
from sqlalchemy import exc
from sqlalchemy.exc import NoResultFound

from dal import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_survives_pickling_with_its_hint(name: str) -> None:
    error = getattr(errors, name)("what happened", hint="what to write")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.hint == "what to write"
    assert str(copy) == "what happened\n  hint: what to write"


@pytest.mark.parametrize("name", errors.__all__)
def test_no_name_means_something_else_to_sqlalchemy(name: str) -> None:
    assert not hasattr(exc, name)


def test_what_a_migrating_application_already_catches() -> None:
    assert issubclass(errors.NotFound, NoResultFound)
    assert issubclass(errors.MultipleFound, exc.MultipleResultsFound)
    assert issubclass(errors.PoolTimeout, exc.TimeoutError)
    assert issubclass(errors.NotLoaded, exc.InvalidRequestError)
    assert issubclass(errors.NotAwaited, exc.MissingGreenlet)
    assert issubclass(errors.ConnectFailed, exc.OperationalError)
    assert issubclass(errors.ConfigError, exc.ArgumentError)
    assert issubclass(errors.MissingExtra, ImportError)


def test_a_message_without_a_hint_has_no_hint_line() -> None:
    assert str(errors.UsageError("no")) == "no"


def test_the_drivers_error_is_kept() -> None:
    cause = OSError("refused")
    assert errors.ConnectFailed("no connection", orig=cause).orig is cause
