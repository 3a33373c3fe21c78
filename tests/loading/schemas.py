"""Random schemas and rows: a few classes with simple or composite keys, joined inheritance and relationships of every kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st
from sqlalchemy import Column, Connection, ForeignKeyConstraint, Integer, MetaData, String, Table, and_
from sqlalchemy.orm import Mapper, deferred, registry, relationship

Kind = Literal["many_to_one", "one_to_one", "many_to_many"]


@dataclass(frozen=True)
class Relation:
    source: int
    target: int
    kind: Kind


@dataclass(frozen=True)
class Plan:
    """A schema and its rows.

    Args:
        composite: For each class whether its key has two columns.
        parents: For each class the class it inherits from, or None.
        relations: Relationships, each with its way back.
        rows: For each object its class; objects are numbered from 1.
        links: For each relation the pairs of objects it links.
    """

    composite: tuple[bool, ...]
    parents: tuple[int | None, ...]
    relations: tuple[Relation, ...]
    rows: tuple[int, ...]
    links: tuple[tuple[tuple[int, int], ...], ...]

    def lineage(self, number: int) -> list[int]:
        """The class and what it inherits from, the root last."""
        parent = self.parents[number]
        return [number] if parent is None else [number, *self.lineage(parent)]

    def objects(self, number: int) -> list[int]:
        """The objects of a class and of its subclasses."""
        return [each for each, kind in enumerate(self.rows, 1) if number in self.lineage(kind)]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    count = draw(st.integers(2, 4))
    parents = tuple(draw(st.none() | st.integers(0, number - 1)) if number else None for number in range(count))
    relation = st.builds(
        Relation,
        st.integers(0, count - 1),
        st.integers(0, count - 1),
        st.sampled_from(("many_to_one", "one_to_one", "many_to_many")),
    )
    relations = tuple(draw(st.lists(relation, min_size=1, max_size=4)))
    rows = tuple(draw(st.lists(st.integers(0, count - 1), min_size=3, max_size=14)))
    plan = Plan(tuple(draw(st.booleans()) for _ in range(count)), parents, relations, rows, ())
    links = tuple(draw(_links(plan, relation)) for relation in relations)
    return Plan(plan.composite, parents, relations, rows, links)


@st.composite
def _links(draw: st.DrawFn, plan: Plan, relation: Relation) -> tuple[tuple[int, int], ...]:
    sources, targets = plan.objects(relation.source), plan.objects(relation.target)
    if not sources or not targets:
        return ()
    pairs = draw(st.lists(st.tuples(st.sampled_from(sources), st.sampled_from(targets)), max_size=16, unique=True))
    if relation.kind != "many_to_many":
        pairs = list({source: (source, target) for source, target in pairs}.values())
    if relation.kind == "one_to_one":
        pairs = list({target: (source, target) for source, target in pairs}.values())
    return tuple(pairs)


class Schema:
    """The tables and mapped classes of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.metadata = MetaData()
        self.registry = registry(metadata=self.metadata)
        self.tables = [self._table(number) for number in range(len(plan.parents))]
        self.secondaries = {
            number: self._secondary(number) for number, each in enumerate(plan.relations) if each.kind == "many_to_many"
        }
        self.classes: list[type[Any]] = []
        for number in range(len(plan.parents)):
            self._map(number)
        self.registry.configure()

    def _keys(self, number: int) -> list[str]:
        return ["k1", "k2"] if self.plan.composite[self.plan.lineage(number)[-1]] else ["k1"]

    def _table(self, number: int) -> Table:
        keys = self._keys(number)
        table = Table(
            f"t{number}", self.metadata, *(Column(key, Integer, primary_key=True, autoincrement=False) for key in keys)
        )
        table.append_column(Column(f"value{number}", String))
        table.append_column(Column(f"late{number}", String))
        parent = self.plan.parents[number]
        if parent is None:
            table.append_column(Column("kind", Integer))
        else:
            table.append_constraint(ForeignKeyConstraint(keys, [f"t{parent}.{key}" for key in keys]))
        for at, relation in enumerate(self.plan.relations):
            if relation.source == number and relation.kind != "many_to_many":
                targets = self._keys(relation.target)
                for key in targets:
                    table.append_column(Column(f"f{at}_{key}", Integer))
        return table

    def _secondary(self, at: int) -> Table:
        relation = self.plan.relations[at]
        columns = [f"s_{key}" for key in self._keys(relation.source)] + [f"t_{key}" for key in self._keys(relation.target)]
        return Table(f"m{at}", self.metadata, *(Column(name, Integer, primary_key=True) for name in columns))

    def _map(self, number: int) -> None:
        table, parent = self.tables[number], self.plan.parents[number]
        mapped = type(f"C{number}", (object,) if parent is None else (self.classes[parent],), {})
        self.classes.append(mapped)
        properties: dict[str, Any] = {f"late{number}": deferred(table.c[f"late{number}"])}
        for at, relation in enumerate(self.plan.relations):
            if relation.source == number:
                properties[f"r{at}"] = self._forward(at, relation)
            if relation.target == number:
                properties[f"b{at}"] = self._back(at, relation)
        arguments: dict[str, Any] = {"polymorphic_identity": number}
        if parent is None:
            arguments["polymorphic_on"] = table.c.kind
        else:
            above = self.tables[parent]
            arguments["inherits"] = self.classes[parent]
            arguments["inherit_condition"] = and_(*(table.c[key] == above.c[key] for key in self._keys(number)))
        self.registry.map_imperatively(mapped, table, properties=properties, **arguments)

    def _joins(self, at: int, relation: Relation) -> dict[str, Any]:
        source, target = self.tables[relation.source], self.tables[relation.target]
        if relation.kind != "many_to_many":
            foreign = [source.c[f"f{at}_{key}"] for key in self._keys(relation.target)]
            remote = [target.c[key] for key in self._keys(relation.target)]
            return {"primaryjoin": and_(*(a == b for a, b in zip(foreign, remote, strict=True))), "foreign_keys": foreign}
        secondary = self.secondaries[at]
        here = and_(*(source.c[key] == secondary.c[f"s_{key}"] for key in self._keys(relation.source)))
        there = and_(*(target.c[key] == secondary.c[f"t_{key}"] for key in self._keys(relation.target)))
        return {"secondary": secondary, "primaryjoin": here, "secondaryjoin": there, "foreign_keys": list(secondary.c)}

    def _forward(self, at: int, relation: Relation) -> Any:
        joins = self._joins(at, relation)
        target = self.tables[relation.target]
        cls = self._class(relation.target)
        if relation.kind == "many_to_many":
            return relationship(cls, back_populates=f"b{at}", order_by=target.c.k1.desc(), **joins)
        return relationship(
            cls, back_populates=f"b{at}", remote_side=[target.c[key] for key in self._keys(relation.target)], **joins
        )

    def _back(self, at: int, relation: Relation) -> Any:
        joins = self._joins(at, relation)
        source = self.tables[relation.source]
        cls = self._class(relation.source)
        if relation.kind == "many_to_many":
            joins["primaryjoin"], joins["secondaryjoin"] = joins["secondaryjoin"], joins["primaryjoin"]
            return relationship(cls, back_populates=f"r{at}", order_by=source.c.k1, **joins)
        joins["remote_side"] = joins["foreign_keys"]
        if relation.kind == "one_to_one":
            return relationship(cls, back_populates=f"r{at}", uselist=False, **joins)
        return relationship(cls, back_populates=f"r{at}", order_by=source.c.k1, **joins)

    def _class(self, number: int) -> Callable[[], type[Any]]:
        return lambda: self.classes[number]

    def relationships(self, mapper: Mapper[Any]) -> list[str]:
        return sorted(mapper.relationships.keys())

    def key(self, number: int, each: int) -> dict[str, int]:
        """The key of an object as its class's table has it."""
        return {"k1": each, "k2": each % 3} if len(self._keys(number)) == 2 else {"k1": each}

    def fill(self, connection: Connection) -> None:
        """Create the tables and insert the rows."""
        self.metadata.create_all(connection)
        plan = self.plan
        for number, table in enumerate(self.tables):
            rows = []
            for each in plan.objects(number):
                row: dict[str, Any] = {**self.key(number, each), f"value{number}": f"v{each}", f"late{number}": f"l{each}"}
                if plan.parents[number] is None:
                    row["kind"] = plan.rows[each - 1]
                for at, relation in enumerate(plan.relations):
                    if relation.source == number and relation.kind != "many_to_many":
                        target = dict(plan.links[at]).get(each)
                        keys = self._keys(relation.target)
                        found = dict.fromkeys(keys) if target is None else self.key(relation.target, target)
                        row |= {f"f{at}_{key}": value for key, value in found.items()}
                rows.append(row)
            if rows:
                connection.execute(table.insert(), rows)
        for at, secondary in self.secondaries.items():
            relation = plan.relations[at]
            pairs = [
                {f"s_{key}": value for key, value in self.key(relation.source, source).items()}
                | {f"t_{key}": value for key, value in self.key(relation.target, target).items()}
                for source, target in plan.links[at]
            ]
            if pairs:
                connection.execute(secondary.insert(), pairs)
