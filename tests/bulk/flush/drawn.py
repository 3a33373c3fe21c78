"""Mapped classes and objects drawn at random, made anew from the same plan for each of two flushes."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
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
    Column,
    Computed,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Identity,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    Sequence,
    String,
    Text,
    TypeDecorator,
    Uuid,
    func,
    inspect,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.orm import DeclarativeBase, relationship

__all__ = ["Made", "Plan", "plans"]

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
DEFAULTS = ["none", "none", "scalar", "called", "row", "server", "clause", "sequence"]
KEYS = ["serial", "identity", "always", "given", "uuid", "server uuid", "sequence", "pair"]


@dataclass(frozen=True)
class Attribute:
    """One column."""

    kind: str
    default: str
    nullable: bool


@dataclass(frozen=True)
class Plan:
    """What is flushed.

    Args:
        key: How its primary key is made.
        attributes: Further columns.
        shape: "flat", "children", "tree", "single" or "joined".
        eager: `eager_defaults`.
        version: Whether it has a version.
        computed: Whether it has a computed column.
        objects: For each object a number that places it in the shape, and the values of its attributes.
        flushes: The number of objects after which there is a flush of its own.
    """

    key: str
    attributes: tuple[Attribute, ...]
    shape: str
    eager: Any
    version: bool
    computed: bool
    objects: tuple[tuple[int, dict[str, Any]], ...]
    flush_at: int


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw what is flushed."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=4))
    attributes = tuple(Attribute(kind, draw(st.sampled_from(DEFAULTS)), draw(st.booleans())) for kind in kinds)
    whole, odd = draw(st.booleans()), draw(st.integers(0, 3)) == 0
    objects = []
    for _ in range(draw(st.integers(3, 12))):
        values: dict[str, Any] = {}
        for at, attribute in enumerate(attributes):
            how, kind = 9 if whole else draw(st.integers(0, 9)), KINDS[attribute.kind]
            if how >= 3 or (attribute.default == "none" and not attribute.nullable and how > 0):
                values[f"a{at}"] = draw(st.one_of(kind.values, kind.odd) if odd else kind.values)
            elif how == 2:
                values[f"a{at}"] = None
        objects.append((draw(st.integers(0, 5)), values))
    return Plan(
        draw(st.sampled_from(KEYS)),
        attributes,
        draw(st.sampled_from(["flat", "flat", "children", "tree", "single", "joined"])),
        draw(st.sampled_from(["auto", True, False])),
        draw(st.booleans()),
        draw(st.booleans()),
        tuple(objects),
        draw(st.integers(1, 40)),
    )


class Made:
    """Classes and objects made of a plan.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: Plan) -> None:
        base: Any = type("Base", (DeclarativeBase,), {})
        self._base = base
        self.metadata: MetaData = base.metadata
        self._plan = plan
        self._counter = itertools.count(1)
        self.objects = self._objects(self._classes())

    def _key(self) -> list[Column[Any]]:
        counter = self._counter
        made: dict[str, Callable[[], Column[Any]]] = {
            "serial": lambda: Column("id", Integer, primary_key=True),
            "identity": lambda: Column("id", BigInteger, Identity(), primary_key=True),
            "always": lambda: Column("id", Integer, Identity(always=True, start=5), primary_key=True),
            "given": lambda: Column("id", Integer, primary_key=True, autoincrement=False),
            "uuid": lambda: Column("id", Uuid, primary_key=True, default=lambda: uuid.UUID(int=next(counter))),
            "server uuid": lambda: Column(
                "id", Uuid, primary_key=True, server_default=text("lpad(nextval('keys')::text, 32, '0')::uuid")
            ),
            "sequence": lambda: Column("id", Integer, Sequence("odd keys", metadata=self.metadata), primary_key=True),
            "pair": lambda: Column("id", Integer, primary_key=True, autoincrement=True),
        }
        found = [made[self._plan.key]()]
        if self._plan.key == "pair":
            found.append(Column("half", Integer, primary_key=True, autoincrement=False))
        return found

    def _column(self, at: int, attribute: Attribute) -> Column[Any]:
        drawn = KINDS[attribute.kind]
        kind, default, server, counter = drawn.type(), drawn.default, drawn.server, self._counter
        given: dict[str, Any] = {
            "none": {},
            "scalar": {"default": default},
            "called": {"default": (lambda: next(counter) % 5) if attribute.kind in {"int", "bigint"} else (lambda: default)},
            "row": {"default": lambda context: default if context.get_current_parameters() else None},
            "server": {"server_default": text(server)},
            "clause": {"default": literal_column(server.replace("%", "%%"), kind)},
            "sequence": {},
        }[attribute.default]
        name = f"a {at}" if at % 2 else f"a{at}"
        if attribute.default == "sequence" and attribute.kind in {"int", "bigint"}:
            return Column(name, kind, Sequence(f"s{at}", metadata=self.metadata), key=f"a{at}", nullable=attribute.nullable)
        return Column(name, kind, key=f"a{at}", nullable=attribute.nullable, **given)

    def _classes(self) -> list[Any]:
        plan = self._plan
        body: dict[str, Any] = {"__tablename__": "drawn"}
        body |= {column.key: column for column in self._key()}
        columns = [self._column(at, attribute) for at, attribute in enumerate(plan.attributes)]
        inherits = plan.shape in {"single", "joined"}
        below = columns[len(columns) // 2 :] if inherits else []
        body |= {column.key: column for column in columns if column not in below}
        arguments: dict[str, Any] = {"eager_defaults": plan.eager}
        if plan.version:
            body["version"] = arguments["version_id_col"] = Column("version", Integer, nullable=False)
        if plan.computed:
            body["doubled"] = Column("doubled", Integer, Computed("2 * label"))
        body["label"] = Column("label", Integer, nullable=False)
        foreign = [ForeignKey("drawn.id")] if plan.key != "pair" else []
        if plan.shape == "tree" and foreign:
            body["above_id"] = Column("above_id", *foreign)
            body["above"] = relationship("Drawn", remote_side=[body["id"]], backref="below")
        if inherits:
            body["sort"] = Column("sort", String(5))
            arguments |= {"polymorphic_on": body["sort"], "polymorphic_identity": "top"}
        drawn = self._class("Drawn", (), {**body, "__mapper_args__": arguments})
        found = [drawn]
        if inherits:
            nullable = {column.key: column for column in below}
            sub: dict[str, Any] = {"__mapper_args__": {"polymorphic_identity": "sub"}, **nullable}
            if plan.shape == "joined" and foreign:
                sub |= {"__tablename__": "sub", "id": Column("id", ForeignKey("drawn.id"), primary_key=True)}
            else:
                for column in below:
                    column.nullable = True
            found.append(self._class("Sub", (drawn,), sub))
        if plan.shape == "children" and foreign:
            child = {
                "__tablename__": "children",
                "id": Column("id", Integer, primary_key=True),
                "drawn_id": Column("drawn_id", ForeignKey("drawn.id"), nullable=False),
                "made": Column("made", DateTime(timezone=True), server_default=func.now()),
                "drawn": relationship(drawn, backref="children"),
            }
            found.append(self._class("Child", (), child))
        return found

    def _class(self, name: str, bases: tuple[Any, ...], body: dict[str, Any]) -> Any:
        return type(name, bases or (self._base,), body)

    def _objects(self, classes: list[Any]) -> list[Any]:
        plan = self._plan
        made: list[Any] = []
        for label, (place, values) in enumerate(plan.objects):
            kind = classes[-1] if plan.shape in {"single", "joined"} and place % 2 else classes[0]
            given = {name: value for name, value in values.items() if name in inspect(kind).column_attrs}
            if plan.key == "given":
                given["id"] = label + 1
            if plan.key == "pair":
                given["half"] = label
            one = kind(label=label, **given)
            if "above" in inspect(kind).relationships and place < label:
                one.above = made[place]
            if "children" in inspect(kind).relationships:
                one.children = [classes[1]() for _ in range(place % 4)]
            made.append(one)
        return made

    @property
    def base(self) -> Any:
        """The declarative base."""
        return self._base

    def dispose(self) -> None:
        """Forget the classes."""
        self._base.registry.dispose()
