"""Which failures to connect are worth another try, and what is said of them."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from dal.errors import ConnectFailed
from dal.pool.connecting import Target, transient

SERVER = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: FATAL:  '


@pytest.mark.parametrize(
    "words",
    [
        'password authentication failed for user "app"',
        'database "shop" does not exist',
        'role "app" does not exist',
        'no pg_hba.conf entry for host "10.0.0.1", user "app", database "shop", no encryption',
        'role "app" is not permitted to log in',
        'permission denied for database "shop"',
        'database "shop" is not currently accepting connections',
        "no such database: shop",
    ],
)
def test_what_no_retry_can_heal(words: str) -> None:
    assert not transient(psycopg.OperationalError(SERVER + words))


@pytest.mark.parametrize(
    "words",
    [
        "sorry, too many clients already",
        "the database system is starting up",
        "the database system is shutting down",
        "the database system is not yet accepting connections",
        'too many connections for role "app"',
        "server login has been failing, try again later (server_login_retry)",
        "Passwort-Authentifizierung fehlgeschlagen",
    ],
)
def test_what_may_pass(words: str) -> None:
    assert transient(psycopg.OperationalError(SERVER + words))


def test_the_network_may_pass_and_mistakes_do_not() -> None:
    assert transient(psycopg.errors.ConnectionTimeout("connection timeout expired"))
    assert transient(ConnectionRefusedError())
    assert transient(psycopg.errors.AdminShutdown("terminating connection"))
    assert not transient(psycopg.errors.InvalidPassword("no"))
    assert not transient(psycopg.ProgrammingError('invalid connection option "hots"'))
    assert not transient(ValueError("a mistake in the creator"))


def test_the_failure_names_the_place_and_no_password() -> None:
    target = Target()
    target.learn({"host": "db", "port": 5433, "dbname": "shop", "user": "app", "password": "s3cret"})
    original = psycopg.OperationalError('missing "=" after "s3cret" in connection info string')
    failure = target.failure(OperationalError("", {}, original))
    assert isinstance(failure, ConnectFailed)
    assert "db:5433/shop as app" in str(failure)
    assert "s3cret" not in str(failure)
    assert failure.orig is original


def test_other_errors_stay_what_they_are() -> None:
    mistake = ValueError("a mistake in the creator")
    assert Target().failure(mistake) is mistake
