"""Bytes for other processes: everything that has an encoding comes back the same, and nothing else comes back at all."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import ipaddress
import zoneinfo
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, selectinload

from dal.cache import copies
from dal.cache.codec import Unencodable, decode, encode, intact, key_name
from dal.cache.entry import Entry
from dal.cache.frozen import freeze
from dal.cache.snapshot import Snapshot
from tests.cache.models import Author, Base, Kind, fill

AT = Snapshot.of("10:14:10,12")

zones = (
    st.none() | st.just(dt.UTC) | st.sampled_from([zoneinfo.ZoneInfo(name) for name in ("Europe/Oslo", "America/Lima", "UTC")])
)
offsets = st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23))
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.dates(),
    st.datetimes(timezones=zones),
    st.builds(dt.datetime, st.just(2020), st.just(1), st.just(1), tzinfo=st.builds(dt.timezone, offsets)),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.sampled_from(Kind),
    st.complex_numbers(allow_nan=False),
    st.ip_addresses(),
    st.builds(ipaddress.IPv4Network, st.ip_addresses(v=4)),
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner) | st.frozensets(plain)
    ),
    max_leaves=20,
)


def through(value: Any) -> Any:
    data = encode("name", freeze(value), frozenset({"authors"}), AT)
    found = decode("name", data)
    assert found is not None
    frozen, tables, snapshot = found
    assert (tables, snapshot) == (frozenset({"authors"}), AT)
    return copies(Entry(frozen, tables, snapshot, 0))


def typed(value: Any) -> Any:
    """Give a value with all its types, and what equality does not tell."""
    if isinstance(value, (list, tuple)):
        return type(value), [typed(each) for each in value]
    if isinstance(value, dict):
        return dict, [(typed(key), typed(each)) for key, each in value.items()]
    if isinstance(value, (set, frozenset)):
        return type(value), value
    return type(value), repr(value)


@given(values)
@settings(max_examples=120, deadline=None)
def test_every_value_comes_back_with_its_types(value: Any) -> None:
    assert typed(through(value)) == typed(value)


def test_special_numbers() -> None:
    for value in (float("nan"), float("inf"), -0.0, decimal.Decimal("NaN"), decimal.Decimal("1.50"), 2**70, -(2**63)):
        assert repr(through(value)) == repr(value)


def test_objects_come_back_as_loaded() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
        session.commit()
        loaded = session.scalars(select(Author).options(selectinload(Author.books)).order_by(Author.id)).all()
        found = through(loaded)
        for mine, other in zip(found, loaded, strict=True):
            for column in Author.__table__.columns.keys():  # noqa: SIM118
                assert typed(getattr(mine, column)) == typed(getattr(other, column))
            assert [(book.title, book.price, book.kind) for book in mine.books] == [
                (book.title, book.price, book.kind) for book in other.books
            ]
            assert mine.books[0].author is mine
        rows = session.execute(select(Author.id, Author.name)).all()
        assert [tuple(row) for row in through(rows)] == [tuple(row) for row in rows]
        assert through(rows)[0].name == rows[0].name
    engine.dispose()


class Strange(str):
    __slots__ = ()


class Zone(dt.tzinfo):
    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(hours=1)

    def dst(self, when: dt.datetime | None) -> None:
        return None

    def tzname(self, when: dt.datetime | None) -> str:
        return "strange"


@pytest.mark.parametrize("value", [Strange("a"), dt.datetime(2020, 1, 1, tzinfo=Zone()), "\ud800", object])
def test_what_has_no_encoding_is_not_encoded(value: Any) -> None:
    with pytest.raises(Unencodable):
        key_name(value)


@given(st.binary(max_size=200))
def test_garbage_is_no_entry(data: bytes) -> None:
    assert decode("name", data) is None


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_are_no_entry(data: st.DataObject) -> None:
    good = encode("name", freeze(["a", 1, dt.date(2020, 1, 1)]), frozenset(), AT)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    assert decode("name", bad) is None
    assert decode("name", good[:at]) is None
    assert not intact("name", bad)


def test_an_entry_under_another_name_is_no_entry() -> None:
    data = encode("name", freeze(5), frozenset(), AT)
    assert decode("name", data) is not None
    assert decode("other", data) is None


def test_classes_that_this_process_has_not_seen_are_not_looked_for() -> None:
    class Local(enum.Enum):
        A = 1

    assert through(Local.A) is Local.A
    from dal.cache import codec

    del codec._enums[next(name for name in codec._enums if "Local" in name)]
    data = encode("name", freeze("x"), frozenset(), AT)
    assert decode("name", data) is not None
    made = encode("name", freeze(Local.A), frozenset(), AT)
    del codec._enums[next(name for name in codec._enums if "Local" in name)]
    assert decode("name", made) is None


def test_names_of_keys_are_the_same_everywhere() -> None:
    assert key_name(("page", 1, dt.date(2020, 1, 1), None)) == "6dafa9c05cf443eb9c812c3115206031"
    assert key_name("a") == key_name("a")
    assert len({key_name(key) for key in ("a", b"a", ("a",), 1, 1.0, True, "1")}) == 7
