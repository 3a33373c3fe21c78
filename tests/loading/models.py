"""The models of these tests: one relationship of every kind, and a small shop to walk through."""

from __future__ import annotations

from sqlalchemy import Column, ColumnElement, ForeignKey, ForeignKeyConstraint, MetaData, Table, func, select
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

METADATA = MetaData()


class Base(DeclarativeBase):
    metadata = METADATA


user_tag = Table(
    "user_tag",
    METADATA,
    Column("user_id", ForeignKey("users.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    bio: Mapped[str | None] = mapped_column(deferred=True)
    street: Mapped[str | None] = mapped_column(deferred=True, deferred_group="address")
    town: Mapped[str | None] = mapped_column(deferred=True, deferred_group="address")
    profile: Mapped[Profile | None] = relationship(back_populates="user")
    orders: Mapped[list[Order]] = relationship(back_populates="user", order_by="Order.total.desc()")
    tags: Mapped[list[Tag]] = relationship(secondary=user_tag, back_populates="users", order_by="Tag.id")
    big_orders: Mapped[list[Order]] = relationship(
        primaryjoin="and_(User.id == Order.user_id, Order.total > 100)", viewonly=True, order_by="Order.id"
    )
    labels: AssociationProxy[list[str]] = association_proxy("tags", "label")

    @hybrid_property
    def spent(self) -> int:
        return sum(order.total for order in self.orders)

    @spent.inplace.expression
    @classmethod
    def _spent(cls) -> ColumnElement[int]:
        return select(func.coalesce(func.sum(Order.total), 0)).where(Order.user_id == cls.id).scalar_subquery()


class Profile(Base):
    __tablename__ = "profiles"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), unique=True)
    motto: Mapped[str]
    user: Mapped[User] = relationship(back_populates="profile")


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    total: Mapped[int]
    note: Mapped[str | None] = mapped_column(deferred=True)
    user: Mapped[User | None] = relationship(back_populates="orders")
    items: Mapped[list[Item]] = relationship(back_populates="order", order_by="Item.id")


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    quantity: Mapped[int]
    order: Mapped[Order] = relationship(back_populates="items")
    product: Mapped[Product] = relationship()


class Product(Base):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str]
    users: Mapped[list[User]] = relationship(secondary=user_tag, back_populates="tags", order_by="User.id")


class Category(Base):
    __tablename__ = "categories"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))
    name: Mapped[str]
    children: Mapped[list[Category]] = relationship(back_populates="parent", order_by="Category.id")
    parent: Mapped[Category | None] = relationship(back_populates="children", remote_side="Category.id")


class Place(Base):
    __tablename__ = "places"

    x: Mapped[int] = mapped_column(primary_key=True)
    y: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    history: Mapped[str | None] = mapped_column(deferred=True)
    visits: Mapped[list[Visit]] = relationship(back_populates="place", order_by="Visit.id")


class Visit(Base):
    __tablename__ = "visits"
    __table_args__ = (ForeignKeyConstraint(["place_x", "place_y"], ["places.x", "places.y"]),)

    id: Mapped[int] = mapped_column(primary_key=True)
    place_x: Mapped[int | None]
    place_y: Mapped[int | None]
    place: Mapped[Place | None] = relationship(back_populates="visits")


class Employee(Base):
    __tablename__ = "employees"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    boss_id: Mapped[int | None] = mapped_column(ForeignKey("managers.id"))
    boss: Mapped[Manager | None] = relationship(
        back_populates="team", foreign_keys="Employee.boss_id", remote_side="Manager.id"
    )
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}  # noqa: RUF012


class Engineer(Employee):
    __tablename__ = "engineers"

    id: Mapped[int] = mapped_column(ForeignKey("employees.id"), primary_key=True)
    language: Mapped[str]
    tools: Mapped[list[Tool]] = relationship(back_populates="engineer", order_by="Tool.id")
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012


class Manager(Employee):
    __tablename__ = "managers"

    id: Mapped[int] = mapped_column(ForeignKey("employees.id"), primary_key=True)
    budget: Mapped[int]
    team: Mapped[list[Employee]] = relationship(back_populates="boss", foreign_keys="Employee.boss_id", order_by="Employee.id")
    __mapper_args__ = {"polymorphic_identity": "manager", "inherit_condition": id == Employee.id}  # noqa: A003, RUF012


class Tool(Base):
    __tablename__ = "tools"

    id: Mapped[int] = mapped_column(primary_key=True)
    engineer_id: Mapped[int] = mapped_column(ForeignKey("engineers.id"))
    engineer: Mapped[Engineer] = relationship(back_populates="tools")


def shop() -> list[Base]:
    """Return what the tests' database holds: six users and what hangs on them, three of everything else.

    User number n has n % 4 orders of n * 100 + 10, 20 ... and every order two items.
    """
    products = [Product(id=number, name=f"p{number}") for number in (1, 2, 3)]
    tags = [Tag(id=number, label=f"t{number}") for number in (1, 2, 3)]
    users = []
    order_id = item_id = 0
    for n in range(1, 7):
        user = User(id=n, name=f"u{n}", bio=f"bio {n}", street=f"s{n}", town=f"c{n}", tags=tags[: n % 3])
        if n % 2:
            user.profile = Profile(id=n, motto=f"m{n}")
        for number in range(n % 4):
            order_id += 1
            order = Order(id=order_id, total=n * 100 + 10 * (number + 1), note=f"note {order_id}", items=[])
            for product in products[:2]:
                item_id += 1
                order.items.append(Item(id=item_id, quantity=item_id, product=product))
            user.orders.append(order)
        users.append(user)
    top = Category(id=1, name="c", children=[])
    for number in (2, 3):
        below = [Category(id=number * 10 + each, name=f"c{number}{each}") for each in (1, 2)]
        top.children.append(Category(id=number, name=f"c{number}", children=below))
    places = [
        Place(x=x, y=x * 2, name=f"x{x}", history=f"h{x}", visits=[Visit(id=x * 10), Visit(id=x * 10 + 1)]) for x in (1, 2, 3)
    ]
    manager = Manager(id=1, name="m1", budget=5)
    engineers = [
        Engineer(
            id=number,
            name=f"e{number}",
            language=f"l{number}",
            boss=manager,
            tools=[Tool(id=number * 10), Tool(id=number * 10 + 1)],
        )
        for number in (2, 3, 4)
    ]
    return [*products, *tags, *users, top, *places, manager, *engineers, Visit(id=99), Employee(id=9, name="x9")]
