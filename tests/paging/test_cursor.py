"""A cursor is whole, ours, for this query and owner, and not expired; or nothing is sent."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import ipaddress
import json
import logging
import math
import string
import subprocess
import sys
import time
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session

from dal import CursorConfig, CursorError, UsageError, using_cursors
from dal.paging import Position, Signer, get_page, plan, signer_of
from dal.paging.values import decoded, encoded
from tests.paging.conftest import CONFIG
from tests.paging.models import Author, Book

SIGNER = Signer(CONFIG)
POSITION = Position((None, "a", 7))


def cursor_of(session: Session, **options: Any) -> str:
    page = get_page(session, select(Author), order_by=[Author.nick], size=2, **options)
    assert page.next is not None
    return page.next


def refused(session: Session, sent: list[str], cursor: Any, **options: Any) -> str:
    sent.clear()
    with pytest.raises(CursorError) as caught:
        get_page(session, select(Author), order_by=[Author.nick], after=cursor, **options)
    assert sent == [], "a statement was sent"
    assert caught.value.http_status == 400
    assert "400" in caught.value.hint
    return str(caught.value)


def test_every_changed_character_is_noticed(session: Session, sent: list[str]) -> None:
    cursor = cursor_of(session)
    for place, character in enumerate(cursor):
        other = "A" if character != "A" else "B"
        refused(session, sent, cursor[:place] + other + cursor[place + 1 :])


def test_every_cut_is_noticed(session: Session, sent: list[str]) -> None:
    cursor = cursor_of(session)
    for length in range(len(cursor)):
        refused(session, sent, cursor[:length])
    for more in ("A", "AAAA", "=", " ", "\n", "%", cursor):
        refused(session, sent, cursor + more)
    refused(session, sent, cursor.replace("-", "+").replace("_", "/") + "==")


@pytest.mark.parametrize("rubbish", ["", "x", "None", "é", "💥" * 10, "A" * 100_000, ">i:5~i:17", b"AAAA", 7, ["a"]])
def test_rubbish_is_refused(rubbish: Any, session: Session, sent: list[str]) -> None:
    assert "cursor" in refused(session, sent, rubbish)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_no_bytes_pass_by_chance(data: bytes) -> None:
    with pytest.raises(CursorError):
        SIGNER.verify(base64.urlsafe_b64encode(data).rstrip(b"=").decode(), query=b"q")


def test_it_is_url_safe(session: Session) -> None:
    assert set(cursor_of(session)) <= set(string.ascii_letters + string.digits + "-_")


def test_of_another_order(session: Session, sent: list[str]) -> None:
    others = [
        [Author.nick.desc()],
        [Author.nick.nulls_first(), Author.id.desc()],
        [Author.born],
        [Author.nick, Author.born],
        [],
    ]
    for order in others:
        page = get_page(session, select(Author), order_by=order, size=2)
        assert "another query" in refused(session, sent, page.next)


def test_of_another_filter(session: Session, sent: list[str]) -> None:
    others: list[Any] = [
        select(Author).where(Author.group == 1),
        select(Author).where(Author.nick.is_not(None)),
        select(Author).join(Author.books),
        select(Author.id),
    ]
    for statement in others:
        page = get_page(session, statement, order_by=[Author.nick], size=2)
        assert "another query" in refused(session, sent, page.next)


def test_of_another_value_of_a_filter(session: Session) -> None:
    def paged(group: Any, after: str | None = None) -> Any:
        return get_page(session, select(Author).where(Author.group == group), size=2, after=after)

    assert paged(1, paged(1).next).items
    for other in (2, "1", None):
        with pytest.raises(CursorError, match="another query"):
            paged(other, paged(1).next)


def test_loading_and_page_size_may_change_in_the_middle(session: Session) -> None:
    from sqlalchemy.orm import joinedload, selectinload

    cursor = cursor_of(session)
    statement = select(Author).options(joinedload(Author.tags), selectinload(Author.books).joinedload(Book.author))
    page = get_page(session, statement, order_by=[Author.nick], size=5, after=cursor)
    assert len(page) == 5


def test_an_owner(session: Session, sent: list[str]) -> None:
    mine = cursor_of(session, owner="tenant 1")
    assert "another owner" in refused(session, sent, mine)
    assert "another owner" in refused(session, sent, mine, owner="tenant 2")
    assert "another owner" in refused(session, sent, cursor_of(session), owner="tenant 1")
    assert get_page(session, select(Author), order_by=[Author.nick], after=mine, owner="tenant 1").items
    with using_cursors(owner="tenant 1"):
        assert get_page(session, select(Author), order_by=[Author.nick], after=mine).items
        with using_cursors(owner="tenant 2"):
            assert "another owner" in refused(session, sent, mine)
    assert b"tenant 1" not in base64.urlsafe_b64decode(mine + "=" * (-len(mine) % 4))


@pytest.mark.parametrize("owner", ["", 7, b"x"])
def test_an_owner_is_a_text(owner: Any, session: Session) -> None:
    with pytest.raises(UsageError, match="owner"):
        get_page(session, select(Author), owner=owner)


def test_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = Signer(CursorConfig(keys=["a key of sixteen bytes"], expires="1h"))
    cursor = signer.sign(POSITION, query=b"q")
    assert signer.verify(cursor, query=b"q") == POSITION
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3590)
    assert signer.verify(cursor, query=b"q") == POSITION
    monkeypatch.setattr(time, "time", lambda: now + 3602)
    with pytest.raises(CursorError, match="expired"):
        signer.verify(cursor, query=b"q")


def test_keys_rotate() -> None:
    old, new = "the old key of the house", "the new key of the house"
    cursor = Signer(CursorConfig(keys=[old])).sign(POSITION, query=b"q")
    both = Signer(CursorConfig(keys=[new, old]))
    assert both.verify(cursor, query=b"q") == POSITION
    fresh = both.sign(POSITION, query=b"q")
    assert Signer(CursorConfig(keys=[new])).verify(fresh, query=b"q") == POSITION
    with pytest.raises(CursorError, match="key"):
        Signer(CursorConfig(keys=[new])).verify(cursor, query=b"q")


def test_keys_come_nearest_first(session: Session, sent: list[str]) -> None:
    other = CursorConfig(keys=["another key altogether"])
    with using_cursors(other):
        cursor = cursor_of(session)
        assert get_page(session, select(Author), order_by=[Author.nick], after=cursor).items
    assert "key" in refused(session, sent, cursor)


def test_without_a_key_one_is_made_and_said_once(library: Any, caplog: pytest.LogCaptureFixture) -> None:
    from dal.paging import cursor as module

    module._development_key.cache_clear()
    module._development.cache_clear()
    with caplog.at_level(logging.WARNING, "dal.paging"), Session(library) as session:
        cursor = cursor_of(session)
        assert get_page(session, select(Author), order_by=[Author.nick], after=cursor).items
        with Session(library) as another:
            assert get_page(another, select(Author), order_by=[Author.nick], after=cursor).items
    assert len(caplog.records) == 1
    assert "CursorConfig(keys=" in caplog.text


FINGERPRINT = """
import sys
from sqlalchemy import create_engine, select
from dal.paging import plan
from tests.paging.models import Author, Mood
statement = select(Author).where(Author.group == 3, Author.mood.in_([Mood.ok, Mood.sad]), Author.name != "x")
print(plan(statement, order_by=[Author.nick.desc(), Author.born], dialect=create_engine(sys.argv[1]).dialect).fingerprint.hex())
"""


@pytest.mark.parametrize("url", ["sqlite://", "postgresql+psycopg://"])
def test_a_query_is_the_same_in_every_process(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    there = subprocess.run([sys.executable, "-c", FINGERPRINT, url], capture_output=True, text=True, check=True).stdout
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["", url])
        exec(FINGERPRINT)
    assert capsys.readouterr().out == there
    assert len(there) == 25


def test_a_query_is_the_same_however_it_was_planned(library: Any) -> None:
    def make(group: int) -> bytes:
        statement = select(Author).where(Author.group == group).order_by(func.coalesce(Author.nick, "z"))
        return plan(statement, dialect=library.dialect).fingerprint

    assert make(1) == make(1) != make(2) == make(2)


class Colour(enum.StrEnum):
    red = "r"


EXACT = [
    None,
    True,
    False,
    0,
    -1,
    2**70,
    0.1,
    -0.0,
    5e-324,
    math.inf,
    -math.inf,
    "",
    "~>:x\n\\\x00\ud800é💥",
    Decimal("1.10"),
    Decimal("NaN"),
    b"\x00\xff",
    dt.datetime(2024, 2, 29, 23, 59, 59, 999_999),
    dt.datetime(2024, 2, 29, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=45))),
    dt.date(1, 1, 1),
    dt.time(23, 59, 59, 1),
    dt.time(1, tzinfo=dt.UTC),
    dt.timedelta(days=-1, microseconds=3),
    uuid.UUID(int=2**127 + 7),
    [1, [None, "x"]],
    ipaddress.ip_address("::1"),
    ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_interface("10.0.0.1/8"),
]


@pytest.mark.parametrize("value", EXACT, ids=repr)
def test_values_come_back_exactly(value: Any) -> None:
    back = decoded(encoded(value))
    assert (type(back), repr(back)) == (type(value), repr(value))


def test_a_number_that_is_none_comes_back() -> None:
    assert math.isnan(decoded(encoded(math.nan)))
    assert decoded(encoded(Colour.red)) == "r"


@settings(max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(), st.lists))
def test_any_value_comes_back(value: Any) -> None:
    assert repr(decoded(encoded(value))) == repr(value)
    json.loads(encoded(value))


def test_what_has_no_exact_text_is_refused() -> None:
    with pytest.raises(UsageError, match="order cannot be kept in a cursor"):
        SIGNER.sign(Position((object(),)), query=b"q")


def test_what_is_too_long_is_refused_when_it_is_made() -> None:
    assert SIGNER.verify(SIGNER.sign(Position(("x" * 5000,)), query=b"q"), query=b"q").values == ("x" * 5000,)
    with pytest.raises(UsageError, match="too long for a cursor"):
        SIGNER.sign(Position(("x" * 10_000,)), query=b"q")


def test_another_process_makes_a_key_of_its_own() -> None:
    here = signer_of(None).sign(POSITION, query=b"q")
    code = "import sys; from dal.paging import signer_of; signer_of(None).verify(sys.argv[1], query=b'q')"
    there = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True, check=False)
    assert there.returncode == 1
    assert "CursorError: the cursor was signed with a key that is not among ours" in there.stderr


def test_what_applications_already_catch() -> None:
    assert issubclass(CursorError, InvalidRequestError)
