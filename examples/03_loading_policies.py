"""Choose, for each query, how related data is fetched, and count what it costs.

A policy is an ordinary ORM option: it works in any `select()`, in a repository, for a block and for a whole database.
"""

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from dal import Database, Policy, Repository, batched, eager, hybrid, lazy, using_policy
from dal.testing import count_statements


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "example03_users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    profile: Mapped["Profile"] = relationship(back_populates="user")
    orders: Mapped[list["Order"]] = relationship(back_populates="user", order_by="Order.id")


class Profile(Base):
    __tablename__ = "example03_profiles"

    user_id: Mapped[int] = mapped_column(ForeignKey("example03_users.id"), primary_key=True)
    city: Mapped[str]
    user: Mapped[User] = relationship(back_populates="profile")


class Order(Base):
    __tablename__ = "example03_orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("example03_users.id"))
    total: Mapped[int]
    user: Mapped[User] = relationship(back_populates="orders")


def show(users: list[User]) -> int:
    return sum(order.total for user in users if user.profile.city for order in user.orders)


def main() -> None:
    with Database.embedded() as db:
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
        with db.transaction() as session:
            for number in range(20):
                orders = [Order(total=number), Order(total=1)]
                session.add(User(name=f"user {number}", profile=Profile(city="Rome"), orders=orders))

        policies: dict[str, Policy] = {
            "lazy()": lazy(),
            "batched()": batched(),
            "hybrid(eager=[User.profile])": hybrid(eager=[User.profile]),
            "eager(User.profile, User.orders)": eager(User.profile, User.orders),
            'eager(..., using="joined")': eager(User.profile, User.orders, using="joined"),
        }
        for name, policy in policies.items():
            with db.session() as session, count_statements(session) as seen:
                total = show(Repository(session, User).list(policy=policy))
                print(f"{name:<34} total {total}, statements {seen.count}")

        with db.session() as session, count_statements(session) as seen:
            query = select(User).order_by(User.id).limit(5).options(eager(User.profile, User.orders))
            total = show(list(session.scalars(query)))
            print(f"{'in a plain select(), first five':<34} total {total}, statements {seen.count}")

        with db.session() as session, using_policy(batched()), count_statements(session) as seen:
            total = show(Repository(session, User).list())
            print(f"{'for a block: using_policy(...)':<34} total {total}, statements {seen.count}")


if __name__ == "__main__":
    main()
