"""All policies give the same objects as SQLAlchemy without one, over random schemas, rows and walks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, inspect, select
from sqlalchemy.orm import Session

from dal import Policy, batched, eager, hybrid, lazy, using_policy
from dal.testing import count_statements
from tests.loading.schemas import Plan, Schema, plans

Walk = Sequence[tuple[int, Sequence[int]]]
"""Steps: an object of the result, or of all of them from -1 on, and the attributes to follow, by number."""

EXPIRE = 99

walks = st.lists(
    st.tuples(st.integers(-3, 5), st.lists(st.integers(0, 11) | st.just(EXPIRE), min_size=1, max_size=4)),
    min_size=1,
    max_size=6,
)
steps = st.lists(st.integers(0, 11), min_size=1, max_size=3)


def attributes(instance: object) -> list[str]:
    mapper = inspect(type(instance))
    return sorted(mapper.relationships.keys()) * 2 + sorted(attr.key for attr in mapper.column_attrs)


def told(session: Session, value: Any) -> Any:
    """Say what a value is: objects by identity, which has to be the session's own."""
    if isinstance(value, list):
        return [told(session, each) for each in value]
    if value is None or isinstance(value, (int, str)):
        return value
    key = inspect(value).key
    assert session.identity_map[key] is value
    return type(value).__name__, key[1]


def follow(session: Session, instance: object, path: Sequence[int]) -> Iterator[Any]:
    if not path:
        return
    if path[0] == EXPIRE:
        session.expire_all()
        yield from follow(session, instance, path[1:])
        return
    names = attributes(instance)
    value = getattr(instance, names[path[0] % len(names)])
    yield names[path[0] % len(names)], told(session, value)
    for each in value if isinstance(value, list) else [value]:
        if each is not None and not isinstance(each, (int, str)):
            yield from follow(session, each, path[1:])


def walked(connection: Connection, entity: type[Any], walk: Walk, policy: Policy | None) -> tuple[list[Any], int]:
    """Walk over all objects of a class under a policy; return what was seen and how many statements were sent."""
    statement = select(entity).order_by(*inspect(entity).primary_key)
    with Session(connection, autoflush=False) as session, count_statements(connection) as seen:
        found = session.scalars(statement if policy is None else statement.options(policy)).unique().all()
        record: list[Any] = [told(session, list(found))]
        for which, path in walk:
            chosen = found if which < 0 else found[which : which + 1]
            record.extend(list(follow(session, instance, path)) for instance in chosen)
        return record, seen.count


def paths(schema: Schema, entity: type[Any], numbers: Sequence[int]) -> Any:
    """Turn numbers into one explicit path of relationships from an entity on."""
    found: list[Any] = []
    mapper = inspect(entity)
    for number in numbers:
        keys = schema.relationships(mapper)
        if not keys:
            break
        attribute = getattr(mapper.class_, keys[number % len(keys)])
        found.append(attribute)
        mapper = attribute.property.mapper
    return tuple(found)


def check(connection: Connection, plan: Plan, start: int, walk: Walk, eagerly: Sequence[Sequence[int]]) -> None:
    schema = Schema(plan)
    try:
        schema.fill(connection)
        entity = schema.classes[start % len(schema.classes)]
        chosen = [path for path in (paths(schema, entity, numbers) for numbers in eagerly) if path]
        stock, sent = walked(connection, entity, walk, None)
        policies = {
            "lazy": lazy(),
            "ramp": batched(ramp=(1, 3)),
            "limit": batched(limit=2),
            "rows": batched(rows=1),
            "eager": eager(*chosen),
            "hybrid": hybrid(eager=chosen),
            "joined": eager(*chosen, using="joined"),
            "selectin": eager(*chosen, using="selectin"),
            "subquery": eager(*chosen, using="subquery"),
        }
        for name, policy in policies.items():
            assert walked(connection, entity, walk, policy)[0] == stock, name
        with using_policy(batched()):
            assert walked(connection, entity, walk, None)[0] == stock
        record, at_most = walked(connection, entity, walk, batched())
        assert record == stock
        # A reference whose own row is expired or lies in a sub-table is loaded across it, and the row where it is touched.
        if set(plan.parents) == {None} and not any(EXPIRE in path for _, path in walk):
            assert at_most <= sent
    finally:
        schema.registry.dispose()


# SQLAlchemy's own selectinload() says this of a many-to-many that leads to the third table of a joined inheritance.
pytestmark = pytest.mark.filterwarnings("ignore:Invoking and_:sqlalchemy.exc.SADeprecationWarning")

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)
CASES = (plans(), st.integers(0, 3), walks, st.lists(steps, max_size=3))


@settings(max_examples=50, deadline=None, suppress_health_check=SLOW)
@given(*CASES)
def test_every_policy_gives_the_same_objects(plan: Plan, start: int, walk: Walk, eagerly: Sequence[Sequence[int]]) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        check(connection, plan, start, walk, eagerly)
    engine.dispose()


@settings(max_examples=6, deadline=None, suppress_health_check=SLOW)
@given(*CASES)
def test_also_on_postgresql(shop_engine: Engine, plan: Plan, start: int, walk: Walk, eagerly: Sequence[Sequence[int]]) -> None:
    with shop_engine.connect() as connection, connection.begin() as transaction:
        check(connection, plan, start, walk, eagerly)
        transaction.rollback()
