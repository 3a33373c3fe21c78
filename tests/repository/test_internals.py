from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.engine.result import ScalarResult
from sqlalchemy.orm import Session, aliased, joinedload
from sqlalchemy.sql.selectable import Select

from dal.errors import UsageError
from dal.repository import Repository, _internals
from tests.repository.models import Base, Order, Tag, User


@pytest.fixture(params=[False, True], ids=["private", "public"])
def session(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine, tables=[each.__table__ for each in (User, Order)])  # type: ignore[misc]
    with Session(engine) as session:
        session.add(User(id=1, email="a", orders=[Order(total=1), Order(total=2)]))
        session.commit()
        if request.param:
            original = _internals.explicit_froms

            def without(statement: Select[Any]) -> Any:
                return original(Blind(statement))  # type: ignore[arg-type]

            monkeypatch.setattr(_internals, "explicit_froms", without)
            entity = _internals.selected_entity
            monkeypatch.setattr(_internals, "selected_entity", lambda statement: entity(Blind(statement)))  # type: ignore[arg-type]
            clauses = _internals.where_clauses
            monkeypatch.setattr(_internals, "where_clauses", lambda statement: clauses(Blind(statement)))  # type: ignore[arg-type]
            monkeypatch.setattr(_internals, "needs_unique", lambda _, unique=_internals.needs_unique: unique(object()))
        yield session
    engine.dispose()


class Blind:
    """A statement that shows its public side only."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._statement, name)


def test_both_ways_say_the_same(session: Session) -> None:
    users = Repository(session, User)
    other = aliased(User)
    line = aliased(Order)
    assert len(users.list(select(User).join(User.orders).where(Order.total > 1))) == 1
    assert len(users.list(select(User).join(User.orders.of_type(line)).where(line.total > 1))) == 1
    assert len(users.list(select(other).where(other.id == 1))) == 1
    assert len(users.list(select(User).options(joinedload(User.orders)))) == 1
    wrongs: list[Any] = [select(User.id), select(Order), select(User, Order), select(Order.__table__)]
    for wrong in wrongs:
        with pytest.raises(UsageError, match="returns User objects"):
            users.list(wrong)
    for cross in (select(User).join(User.orders), select(User)):
        with pytest.raises(UsageError, match="does not contain"):
            users.list(cross, Tag.label == "x")


def test_the_private_names_are_there() -> None:
    assert hasattr(Select, "_setup_joins")
    assert hasattr(Select, "_from_obj")
    assert hasattr(Select, "_where_criteria")
    assert "_unique_filter_state" in ScalarResult.__slots__ or hasattr(ScalarResult, "_unique_filter_state")
    assert select(User)._raw_columns[0]._annotations["parententity"] is User.__mapper__
