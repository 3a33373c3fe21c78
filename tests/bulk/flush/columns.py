"""Kinds of columns, with what they are made for and what only a cast makes of it."""

from __future__ import annotations

import datetime as dt
import enum
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Text,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.dialects.postgresql import INET, JSONB

__all__ = ["KINDS"]

UTC = dt.UTC


class Mood(enum.Enum):
    glad = "g"
    sad = "s"


class Shout(TypeDecorator[str]):
    """Stores in capitals, and reads back as a title."""

    impl = String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.upper()

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.title()


_words = st.text("aé%'\\\"\n\t 月", max_size=8)
_moments = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2020, 1, 1))
_decimals = st.decimals(-1000, 1000, places=3)


@dataclass(frozen=True)
class Kind:
    """A kind of column.

    Args:
        type: Makes its type.
        values: What it is made for.
        odd: What only a cast makes of it, or nothing.
        default: A default.
        server: One as the server writes it.
    """

    type: Callable[[], Any]
    values: st.SearchStrategy[Any]
    odd: st.SearchStrategy[Any]
    default: Any
    server: str


_aware = _moments.map(lambda at: at.replace(tzinfo=UTC))
_dates = st.dates(dt.date(1990, 1, 1), dt.date(2020, 1, 1))
_small, _day = st.integers(0, 9), dt.datetime(2016, 1, 2)
_spans = st.timedeltas(dt.timedelta(-9), dt.timedelta(9))
_documents = st.one_of(st.none(), st.just(JSON.NULL), st.dictionaries(st.just("k"), _small, max_size=1))
KINDS = {
    "int": Kind(Integer, st.integers(-9, 2**31 - 1), st.sampled_from([2.5, True, "7", 2**31]), 7, "7"),
    "bigint": Kind(BigInteger, st.integers(-(2**40), 2**40), st.sampled_from([2.5, True]), 8, "8"),
    "str": Kind(lambda: String(9), _words, st.sampled_from(["far too long", "nul \0", 5]), "word", "'word'"),
    "text": Kind(Text, _words, st.sampled_from([5, "\ud800"]), "text", "'te%xt'"),
    "cut": Kind(lambda: Numeric(8, 2), _decimals, st.sampled_from([5, 1.005, Decimal("1e9")]), Decimal("1.5"), "1.5"),
    "numeric": Kind(Numeric, _decimals, st.one_of(st.floats(-9, 9), st.just(math.inf)), Decimal("0.25"), "0.25"),
    "float": Kind(Float, st.floats(-9, 9), st.sampled_from([5, Decimal("0.1")]), 0.5, "0.5"),
    "bool": Kind(Boolean, st.booleans(), st.sampled_from([1, 0]), True, "true"),
    "date": Kind(Date, _dates, _moments, dt.date(2016, 1, 2), "'2016-01-02'"),
    "naive": Kind(DateTime, _moments, st.one_of(_aware, _dates), _day, "'2016-1-2'"),
    "aware": Kind(lambda: DateTime(timezone=True), _aware, _moments, _day.replace(tzinfo=UTC), "'2016-01-02 03:04:05+02'"),
    "span": Kind(Interval, _spans, st.just("1 day"), dt.timedelta(1), "'1 month'"),
    "bytes": Kind(LargeBinary, st.binary(max_size=5), st.just(bytearray(b"a")), b"b", "'b'"),
    "json": Kind(JSON, _documents, st.just({1: object}), [1], "'[2]'"),
    "jsonb": Kind(lambda: JSONB(none_as_null=True), _documents, st.just("\0"), {}, "'{\"a\": 1}'"),
    "uuid": Kind(Uuid, st.uuids(), st.just(str(uuid.UUID(int=4))), uuid.UUID(int=5), f"'{uuid.UUID(int=6)}'"),
    "hex": Kind(
        lambda: Uuid(as_uuid=False),
        st.uuids().map(str),
        st.just(uuid.UUID(int=4).hex),
        str(uuid.UUID(int=7)),
        f"'{uuid.UUID(int=8)}'",
    ),
    "mood": Kind(lambda: Enum(Mood, name="mood"), st.sampled_from(Mood), st.sampled_from(["sad", "bad"]), Mood.sad, "'glad'"),
    "ints": Kind(
        lambda: ARRAY(Integer), st.lists(st.one_of(_small, st.none())), st.sampled_from([(1, 2), [True]]), [1], "'{3}'"
    ),
    "texts": Kind(lambda: ARRAY(Text), st.lists(_words, max_size=3), st.just([5]), ["a"], "'{b}'"),
    "shout": Kind(Shout, st.text("abc", max_size=5), st.just(5), "loud", "'LOUD'"),
    "inet": Kind(INET, st.sampled_from(["10.0.0.1", "::1"]), st.just(ip_address("::2")), "127.0.0.1", "'127.0.0.2'"),
}
