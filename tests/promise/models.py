"""The shop that the promised lines speak of."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    active: Mapped[bool] = mapped_column(default=True)
    plan: Mapped[str] = mapped_column(default="paid")
    deleted_at: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime] = mapped_column(default=dt.datetime(2026, 1, 1))
    profile: Mapped[Profile | None] = relationship(back_populates="user")
    orders: Mapped[list[Order]] = relationship(back_populates="user", order_by="Order.id")


class Profile(Base):
    __tablename__ = "profiles"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), unique=True)
    city: Mapped[str]
    user: Mapped[User] = relationship(back_populates="profile")


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    total: Mapped[int]
    user: Mapped[User] = relationship(back_populates="orders")
    items: Mapped[list[Item]] = relationship(order_by="Item.id")


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    product: Mapped[Product] = relationship()


class Product(Base):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Category(Base):
    __tablename__ = "categories"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))
    children: Mapped[list[Category]] = relationship(order_by="Category.id")


USERS = 9
"""Users n1 to n9: each with a profile, two orders (100 and 100 + its number) and two items in each; n9 is not active."""


def fill(session: Session) -> None:
    """Write the shop, and categories four levels deep."""
    products = [Product(name="tea"), Product(name="cup")]
    for number in range(1, USERS + 1):
        orders = [Order(total=total, items=[Item(product=each) for each in products]) for total in (100, 100 + number)]
        session.add(
            User(
                id=number,
                email=f"n{number}@b",
                name=f"n{number}",
                active=number != USERS,
                created_at=dt.datetime(2026, 1, 1 + number // 2),
                profile=Profile(city="Oslo"),
                orders=orders,
            )
        )
    leaves = [Category() for _ in range(4)]
    session.add(Category(id=100, children=[Category(children=[Category(children=leaves[:2])]), Category(children=leaves[2:])]))
