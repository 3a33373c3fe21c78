"""A program for test_fallback.py: take a private name away from SQLAlchemy for good, then load with dal.

    python without_hooks.py <module>.<class or function ...>.<name>

The name is given another one everywhere in SQLAlchemy, as a later version might do, so that SQLAlchemy itself works on.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from importlib import import_module
from typing import Any


def rename(owner: Any, name: str, modules: list[types.ModuleType]) -> None:
    """Give an attribute another name, in its owner and in the code that uses it."""
    holders = [module for module in modules if name in vars(module)] if isinstance(owner, types.ModuleType) else [owner]
    for holder in holders:
        setattr(holder, f"{name}_renamed", vars(holder)[name])
        delattr(holder, name)
    for module in modules:
        for function in _functions(module):
            function.__code__ = _renamed(function.__code__, name)


def _functions(module: types.ModuleType) -> Iterator[types.FunctionType]:
    waiting = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        value = getattr(value, "__func__", getattr(value, "fget", value))
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, types.FunctionType):
            yield value
            waiting += [getattr(value, "__wrapped__", None)]
        elif isinstance(value, type):
            waiting += vars(value).values()


def _renamed(code: types.CodeType, name: str) -> types.CodeType:
    return code.replace(
        co_names=tuple(f"{each}_renamed" if each == name else each for each in code.co_names),
        co_consts=tuple(_renamed(each, name) if isinstance(each, types.CodeType) else each for each in code.co_consts),
    )


def main(path: str) -> None:
    """Rename, load, and print what was missing and how many statements each attribute took."""
    import_module("sqlalchemy.orm")

    where, _, name = path.rpartition(".")
    module, _, cls = where.partition(":")
    found = import_module(module)
    everywhere = [each for key, each in sys.modules.items() if key.startswith("sqlalchemy.orm.")]
    rename(getattr(found, cls) if cls else found, name, [found] if cls else everywhere)

    from sqlalchemy import create_engine, select
    from sqlalchemy.orm import Session
    from sqlalchemy.pool import StaticPool

    from dal import NotLoaded, batched, strict
    from dal.loading import _internals
    from dal.testing import count_statements
    from tests.loading.models import METADATA, Category, Engineer, Item, Order, Place, Tag, User, shop

    print("missing:", *_internals.missing())
    engine = create_engine("sqlite://", poolclass=StaticPool)
    METADATA.create_all(engine)
    with Session(engine) as session:
        session.add_all(shop())
        session.commit()
    for entity, key in (
        (User, "orders"),
        (User, "profile"),
        (User, "tags"),
        (User, "big_orders"),
        (User, "bio"),
        (User, "street"),
        (Order, "user"),
        (Item, "product"),
        (Category, "children"),
        (Category, "parent"),
        (Place, "visits"),
        (Engineer, "tools"),
        (Tag, "users"),
    ):
        values = []
        for options in ((), (batched(),)):
            with Session(engine) as session:
                objects = session.scalars(select(entity).order_by(*entity.__mapper__.primary_key).options(*options)).all()
                before = len(objects)
                with count_statements(session) as sent:
                    values.append([_shown(getattr(each, key)) for each in objects])
        assert values[0] == values[1], (entity, key, values)
        print(f"{entity.__name__}.{key}: {before} objects, {sent.count} statements")
    with Session(engine) as session:
        users = session.scalars(select(User).order_by(User.id).options(batched())).all()
        session.commit()
        with count_statements(session) as sent:
            names = [user.name for user in users]
        assert names == [f"u{n}" for n in range(1, 7)]
        print(f"expired: {len(users)} objects, {sent.count} statements")
        orders = [order for user in users for order in user.orders]
        with count_statements(session) as sent:
            items = [item.product.name for order in orders for item in order.items]
        assert len(items) == 2 * len(orders)
        print(f"onwards: {sent.count} statements")
    with Session(engine) as session:
        user = session.scalars(select(User).options(strict())).first()
        try:
            print("strict:", user and user.orders)
        except NotLoaded as error:
            print("strict:", error)


def _shown(value: Any) -> Any:
    from sqlalchemy import inspect

    if isinstance(value, list):
        return [inspect(each).identity for each in value]
    return inspect(value).identity if hasattr(value, "__mapper__") else value


if __name__ == "__main__":
    main(sys.argv[1])
