"""The application that the scenarios are taken from: a shop with a blog, a staff and a catalogue."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, String, Table, func, select
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    Session,
    WriteOnlyMapped,
    column_property,
    mapped_column,
    relationship,
)


class Base(AsyncAttrs, DeclarativeBase):
    type_annotation_map = {str: String(200)}  # noqa: RUF012


post_tags = Table(
    "post_tags",
    Base.metadata,
    Column("post_id", ForeignKey("posts.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)
user_badges = Table(
    "user_badges",
    Base.metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True),
    Column("badge_id", ForeignKey("badges.id"), primary_key=True),
)


class Company(Base):
    __tablename__ = "companies"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    users: Mapped[list[User]] = relationship(back_populates="company")


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str] = mapped_column(default="")
    active: Mapped[bool] = mapped_column(default=True)
    company_id: Mapped[int | None] = mapped_column(ForeignKey("companies.id"))
    bio: Mapped[str] = mapped_column(String(200), default="a long text", deferred=True)
    photo: Mapped[str] = mapped_column(String(200), default="bytes", deferred=True, deferred_group="media")
    video: Mapped[str] = mapped_column(String(200), default="bytes", deferred=True, deferred_group="media")

    company: Mapped[Company | None] = relationship(back_populates="users")
    posts: Mapped[list[Post]] = relationship(back_populates="author", order_by="Post.id")
    profile: Mapped[Profile | None] = relationship(back_populates="user")
    badges: Mapped[list[Badge]] = relationship(secondary=user_badges)
    orders: Mapped[list[Order]] = relationship(back_populates="user", cascade="all, delete-orphan")
    logins: WriteOnlyMapped[Login] = relationship()
    visits: DynamicMapped[Visit] = relationship()
    badge_names: AssociationProxy[list[str]] = association_proxy("badges", "name")

    @property
    def post_count(self) -> int:
        return len(self.posts)  # HERE property

    @hybrid_property
    def has_posts(self) -> bool:
        return bool(self.posts)  # HERE hybrid

    def __repr__(self) -> str:
        return f"<User {self.name} of {self.company}>"  # HERE repr


class Profile(Base):
    __tablename__ = "profiles"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), unique=True)
    city: Mapped[str] = mapped_column(default="Riga")
    user: Mapped[User] = relationship(back_populates="profile")


class Badge(Base):
    __tablename__ = "badges"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Login(Base):
    __tablename__ = "logins"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


class Visit(Base):
    __tablename__ = "visits"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    editor_id: Mapped[int | None]
    author: Mapped[User] = relationship(back_populates="posts")
    comments: Mapped[list[Comment]] = relationship(back_populates="post", order_by="Comment.id")
    tags: Mapped[list[Tag]] = relationship(secondary=post_tags, back_populates="posts")


class Comment(Base):
    __tablename__ = "comments"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    post_id: Mapped[int] = mapped_column(ForeignKey("posts.id"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    post: Mapped[Post] = relationship(back_populates="comments")
    user: Mapped[User | None] = relationship()


Post.comment_count = column_property(
    select(func.count(Comment.id)).where(Comment.post_id == Post.id).correlate(Post).scalar_subquery(), deferred=True
)


class Tag(Base):
    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    posts: Mapped[list[Post]] = relationship(secondary=post_tags, back_populates="tags")


class Order(Base):
    """An order of a customer; composite key."""

    __tablename__ = "orders"
    shop: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    status: Mapped[str] = mapped_column(default="new")
    total: Mapped[int] = mapped_column(default=0)
    placed: Mapped[datetime] = mapped_column(default=datetime(2026, 1, 1))
    user: Mapped[User] = relationship(back_populates="orders")
    items: Mapped[list[Item]] = relationship(back_populates="order", cascade="all, delete-orphan")


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[int]
    number: Mapped[int]
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    order: Mapped[Order] = relationship(back_populates="items")
    product: Mapped[Product] = relationship()
    __table_args__ = (ForeignKeyConstraint(["shop", "number"], ["orders.shop", "orders.number"]),)


class Product(Base):
    __tablename__ = "products"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    stock: Mapped[int] = mapped_column(default=10)


class Category(Base):
    __tablename__ = "categories"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))
    parent: Mapped[Category | None] = relationship(remote_side="Category.id", back_populates="children")
    children: Mapped[list[Category]] = relationship(back_populates="parent", order_by="Category.id")


class Employee(Base):
    """Joined inheritance."""

    __tablename__ = "employees"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(default="employee")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}  # noqa: RUF012


class Manager(Employee):
    __tablename__ = "managers"
    id: Mapped[int] = mapped_column(ForeignKey("employees.id"), primary_key=True)
    bonus: Mapped[int] = mapped_column(default=1)
    reports: Mapped[list[Report]] = relationship()
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012


class Report(Base):
    __tablename__ = "reports"
    id: Mapped[int] = mapped_column(primary_key=True)
    manager_id: Mapped[int] = mapped_column(ForeignKey("managers.id"))


class Payment(Base):
    """Single-table inheritance."""

    __tablename__ = "payments"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(default="payment")
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "payment"}  # noqa: RUF012


class CardPayment(Payment):
    payer: Mapped[User] = relationship()
    __mapper_args__ = {"polymorphic_identity": "card"}  # noqa: RUF012


class Team(Base):
    """Relationships that the mapping itself loads eagerly."""

    __tablename__ = "teams"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    coach_id: Mapped[int] = mapped_column(ForeignKey("coaches.id"))
    players: Mapped[list[Player]] = relationship(lazy="selectin", back_populates="team")
    coach: Mapped[Coach] = relationship(lazy="joined")


class Player(Base):
    __tablename__ = "players"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id"))
    team: Mapped[Team] = relationship(back_populates="players")


class Coach(Base):
    __tablename__ = "coaches"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Job(Base):
    __tablename__ = "jobs"
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="waiting")
    progress: Mapped[int] = mapped_column(default=0)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    user: Mapped[User | None] = relationship()


class Draft(Base):
    """A row whose every change raises its version."""

    __tablename__ = "drafts"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Setting(Base):
    __tablename__ = "settings"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


def seed(session: Session) -> None:
    """Fill the shop: six users of three companies, each with posts, comments, tags, badges, orders."""
    companies = [Company(id=i, name=f"company {i}") for i in range(1, 4)]
    badges = [Badge(id=i, name=f"badge {i}") for i in range(1, 6)]
    tags = [Tag(id=i, name=f"tag {i}") for i in range(1, 6)]
    products = [Product(id=i, name=f"product {i}") for i in range(1, 9)]
    session.add_all([*companies, *badges, *tags, *products])
    for i in range(1, 7):
        user = User(id=i, name=f"user {i}", email=f"u{i}@example.org", company=companies[i % 3])
        user.profile = Profile(id=i)
        user.badges = badges[:5]
        for j in range(1, 6):
            post = Post(id=i * 10 + j, title=f"post {j}", author=user, tags=tags[j % 5 : j % 5 + 2] or tags[:2])
            post.comments = [Comment(id=(i * 10 + j) * 10 + k, body="well", user=user) for k in range(1, 4)]
        for number in range(1, 4):
            order = Order(shop=i, number=number, user=user, total=number * 10)
            order.items = [Item(product=products[(i + number + k) % 8]) for k in range(3)]
        session.add(user)
        session.flush()
        session.add_all([Login(id=2 * i - 1, user_id=i), Login(id=2 * i, user_id=i), Visit(id=i, user_id=i)])
        session.add_all([CardPayment(id=i, user_id=i), Job(id=i, user_id=i)])
    root = Category(id=1, name="all")
    for i in range(2, 5):
        child = Category(id=i, name=f"category {i}", parent=root)
        child.children = [Category(id=i * 10 + k, name="leaf") for k in range(3)]
    chain = root
    for i in range(100, 105):
        chain = Category(id=i, name="deep", parent=chain)
    session.add(root)
    session.add_all([Manager(id=i, name=f"manager {i}", reports=[Report(), Report()]) for i in range(1, 5)])
    coaches = [Coach(id=i, name=f"coach {i}") for i in range(1, 4)]
    for i in range(1, 4):
        session.add(
            Team(id=i, name=f"team {i}", coach=coaches[i - 1], players=[Player(id=4 * i + k - 3, name="p") for k in range(4)])
        )
    session.add_all([Setting(name=name, value="1") for name in ("theme", "vat", "currency")])
    session.commit()
