"""The repository as a type checker sees it: never run, only checked, by mypy --strict and pyright.

A line marked `type: ignore` has to be an error: both checkers complain about a mark that is not needed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

from sqlalchemy import Row, exists, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column, relationship, scoped_session
from sqlmodel import Field, SQLModel, col

from dal.asyncio import AsyncRepository
from dal.loading import eager, lazy
from dal.paging import Page, Total, get_page
from dal.repository import Explanation, Repository


class Base(DeclarativeBase): ...


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    active: Mapped[bool]
    verified: Mapped[bool | None]
    deleted_at: Mapped[dt.datetime | None]
    orders: Mapped[list[Order]] = relationship()

    @hybrid_property
    def short(self) -> bool:
        return len(self.name) < 4


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[int]
    user: Mapped[User] = relationship()


class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str
    active: bool = True


class Users(Repository[User]):
    policy = eager(User.orders)


class AsyncUsers(AsyncRepository[User]):
    policy = "profile_page"


def inferred(session: Session, scoped: scoped_session[Session]) -> None:
    users = Users(session)
    assert_type(Repository(session, User), Repository[User])
    assert_type(Repository(scoped, User, policy=lazy()), Repository[User])
    assert_type(users.get(7), User | None)
    assert_type(users.get((1, 2), policy="page", lock="update"), User | None)
    assert_type(users.get_many([1, 2]), list[User | None])
    assert_type(users.one(User.name == "a"), User)
    assert_type(users.first(User.active), User | None)
    assert_type(users.list(User.active, order_by=User.name.desc(), limit=20, policy=eager(User.orders)), list[User])
    assert_type(users.list(select(User).where(User.active)), list[User])
    assert_type(users.list(select(User), User.active, order_by=[User.name, User.id.desc().nulls_last()]), list[User])
    assert_type(users.count(User.active), int)
    assert_type(users.exists(), bool)
    assert_type(users.add(User()), User)
    assert_type(users.add_all([User()]), list[User])
    assert_type(users.update(User.active, values={User.name: "x", User.active: False}), int)
    assert_type(users.update(true(), values={User.name: func.upper(User.name)}), int)
    assert_type(users.delete(User.deleted_at < dt.datetime.now(), or_(User.active, User.id == 1)), int)
    assert_type(users.upsert(User(), key=[User.name]), User)
    assert_type(users.stream(User.active, batch=500), Iterator[User])
    assert_type(users.explain(User.active), Explanation)
    assert_type(
        users.load([User()], User.orders, Order.user, (User.orders, Order.user), User.orders.and_(Order.total > 1)), None
    )
    assert_type(users.session, Session)


def filters(users: Users, heroes: Repository[Hero], other: type[User]) -> None:
    users.list(User.active, ~User.active, User.verified, User.name.in_(["a"]), User.name.is_(None))
    users.list(User.orders.any(Order.total > 1), exists().where(Order.total > User.id), User.short)
    users.list(aliased(User).active, func.lower(User.name) == "a", (User.id == 1) | (User.id == 2))
    heroes.list(col(Hero.name) == "a", col(Hero.active), order_by=col(Hero.name).desc())
    heroes.update(col(Hero.active), values={col(Hero.name): "x"})


async def through_the_async_door(session: AsyncSession, scoped: async_scoped_session[Any]) -> None:
    users = AsyncUsers(session)
    assert_type(AsyncRepository(session, User), AsyncRepository[User])
    assert_type(AsyncRepository(scoped, User), AsyncRepository[User])
    assert_type(await users.get(7), User | None)
    assert_type(await users.get_many([1, 2]), list[User | None])
    assert_type(await users.one(User.name == "a"), User)
    assert_type(await users.first(User.active), User | None)
    assert_type(await users.list(User.active, order_by=User.name.desc()), list[User])
    assert_type(await users.list(select(User).where(User.active)), list[User])
    assert_type(await users.count(User.active), int)
    assert_type(await users.exists(), bool)
    assert_type(await users.add(User()), User)
    assert_type(await users.add_all([User()]), list[User])
    assert_type(await users.update(User.active, values={User.name: "x"}), int)
    assert_type(await users.delete(User.active), int)
    assert_type(await users.upsert(User(), key=[User.name]), User)
    assert_type(users.stream(User.active), AsyncIterator[User])
    assert_type(await users.explain(User.active), Explanation)
    assert_type(await users.load([User()], User.orders), None)


def refused(session: Session, users: Users, heroes: Repository[Hero]) -> None:
    users.list(User.nmae == "a")  # type: ignore[attr-defined]
    users.list(User.name)  # type: ignore[arg-type]
    users.list("active")  # type: ignore[arg-type]
    users.list(True)  # type: ignore[arg-type]
    users.list(None)  # type: ignore[arg-type]
    users.list(User)  # type: ignore[arg-type]
    users.list(User.orders)  # type: ignore[arg-type]
    orders, ids = select(Order), select(User.id)
    users.list(orders)  # type: ignore[arg-type]
    users.list(ids)  # type: ignore[arg-type]
    users.list(select(User, Order))  # type: ignore[arg-type]
    users.list(order_by="name")  # type: ignore[arg-type]
    users.list(nmae="a")  # type: ignore[call-arg]
    users.list(limit="20")  # type: ignore[arg-type]
    users.list(policy=eager)  # type: ignore[arg-type]
    users.one(lock="exclusive")  # type: ignore[arg-type]
    users.update(User.active, values={"name": "x"})  # type: ignore[dict-item]
    users.update(User.active)  # type: ignore[call-arg]
    users.delete(select(User))  # type: ignore[arg-type]
    users.add(Order())  # type: ignore[arg-type]
    users.add_all([Order()])  # type: ignore[list-item]
    users.upsert(User(), key=["name"])  # type: ignore[list-item]
    users.upsert(User())  # type: ignore[call-arg]
    users.load([Order()], User.orders)  # type: ignore[list-item]
    users.load([User()], "orders")  # type: ignore[arg-type]
    heroes.list(Hero.name == "a")  # type: ignore[arg-type]
    Repository("session", User)  # type: ignore[arg-type]


def pages(session: Session) -> None:
    users = Users(session)
    page = users.page(User.active, order_by=[User.name.desc()], size=20, total="bounded")
    assert_type(page, Page[User])
    assert_type(page.next, str | None)
    assert_type(page.total, Total | None)
    assert_type(page.edges[0].node, User)
    assert_type(users.in_batches(User.active), Iterator[list[User]])
    assert_type(get_page(session, select(User)), Page[User])
    assert_type(get_page(session, select(User.name)), Page[str])
    assert_type(get_page(session, select(User, User.name)), Page[Row[User, str]])
    users.page(order_by="name")  # type: ignore
    users.page(total="all")  # type: ignore
    users.page(afer=page.next)  # type: ignore


async def async_pages(session: AsyncSession) -> None:
    users = AsyncRepository(session, User)
    assert_type(await users.page(User.active, total=500), Page[User])
    assert_type(users.in_batches(User.active), AsyncIterator[list[User]])
