"""Mapped classes and objects drawn at random, made anew from the same plan for each of two flushes."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    MetaData,
    Sequence,
    String,
    Uuid,
    func,
    inspect,
    literal_column,
    text,
)
from sqlalchemy.orm import DeclarativeBase, relationship

from tests.bulk.flush.columns import KINDS

__all__ = ["Made", "Plan", "plans"]

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
