from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Sequence, event, exc, select
from sqlalchemy.orm import Session, with_loader_criteria

from dal.repository import Repository
from tests.repository.conftest import POSTGRESQL, Door, done
from tests.repository.models import METADATA, User


async def test_leaves_the_session_as_it_was(door: Door) -> None:
    await door.seed(User(id=1, email="a", name="Ada"))
    users = door.repository(User)
    held = await done(users.get(1))
    held.name = "changed"
    await done(users.add(User(email="b")))
    explained = await done(users.explain(User.name == "Ada"))
    assert explained.count == 1
    assert await door.run(lambda session: (held in session.dirty, len(session.new), held.name)) == (True, 1, "changed")
    assert not any(sql.startswith(("INSERT", "UPDATE")) for sql in door.sent)
    await door.run(lambda session: session.rollback())
    assert [user.name for user in await done(users.list())] == ["Ada"]


async def test_parameters_are_kept_apart(door: Door) -> None:
    users = door.repository(User)
    explained = await done(users.explain(User.email == "secret"))
    assert "secret" not in explained.statements[0].sql
    assert "secret" in repr(explained.statements[0].parameters)


@POSTGRESQL
async def test_is_read_only(door: Door) -> None:
    counter = Sequence("explained", metadata=METADATA)
    await door.run(lambda session: counter.create(session.connection(), checkfirst=True))
    await door.run(lambda session: session.commit())
    users = door.repository(User)
    await done(users.add(User(email="b")))
    await door.run(lambda session: session.flush())
    before = await door.run(lambda session: session.scalar(select(counter.next_value())))
    with pytest.raises(exc.InternalError, match="read-only"):
        await done(users.explain(counter.next_value() > 0))
    assert await done(users.count()) == 1
    assert await door.run(lambda session: session.scalar(select(counter.next_value()))) == before + 1


async def test_listeners_of_the_sessions_class_take_part(url: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.orm import sessionmaker

    class Tenant(Session):
        def __init__(self, tenant: str, **options: Any) -> None:
            super().__init__(**options)
            self.tenant = tenant

    engine = create_engine(url)
    factory = sessionmaker(engine, class_=Tenant)

    @event.listens_for(factory, "do_orm_execute")
    def narrow(state: Any) -> None:
        tenant = state.session.tenant
        state.statement = state.statement.options(with_loader_criteria(User, lambda cls: cls.plan == tenant))

    with factory(tenant="acme") as session:
        explained = Repository(session, User).explain()
        assert "WHERE" in explained.statements[0].sql
    engine.dispose()
