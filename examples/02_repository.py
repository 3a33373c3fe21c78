"""Ask the same questions of an entity again and again: a repository.

It takes the application's own Session, takes and returns plain `select()`, and never commits.
"""

from sqlalchemy import ForeignKey, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from dal import Database, Repository, UsageError


class Base(DeclarativeBase):
    pass


class Shop(Base):
    __tablename__ = "example02_shops"

    id: Mapped[int] = mapped_column(primary_key=True)
    city: Mapped[str]
    items: Mapped[list["Item"]] = relationship(back_populates="shop")


class Item(Base):
    __tablename__ = "example02_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("example02_shops.id"))
    name: Mapped[str] = mapped_column(unique=True)
    price: Mapped[int]
    shop: Mapped[Shop] = relationship(back_populates="items")


class Items(Repository[Item]):
    """The place for questions that several callers ask."""

    def cheap(self, below: int) -> list[Item]:
        """Return what costs less than `below`, cheapest first."""
        return self.list(Item.price < below, order_by=Item.price)


def main() -> None:
    with Database.embedded() as db:
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
        with db.transaction() as session:
            items = Items(session)
            rome, oslo = Shop(city="Rome"), Shop(city="Oslo")
            items.add_all(
                [
                    Item(name="lamp", price=30, shop=rome),
                    Item(name="chair", price=80, shop=rome),
                    Item(name="table", price=200, shop=oslo),
                ]
            )

            print("cheap:", [item.name for item in items.cheap(100)])
            lamp = items.one(Item.name == "lamp")
            print("in the order asked:", [item and item.name for item in items.get_many([3, lamp.id, 99, 3])])
            in_rome = select(Item).join(Item.shop).where(Shop.city == "Rome").order_by(Item.name)
            print("a plain select():", [item.name for item in items.list(in_rome)])
            print("count:", items.count(Item.price > 50), "exists:", items.exists(Item.price > 500))

            print("updated:", items.update(Item.price < 100, values={Item.price: Item.price + 5}), "now", lamp.price)
            print("upserted:", items.upsert(Item(name="lamp", price=33, shop_id=oslo.id), key=[Item.name]).price)
            print("deleted:", items.delete(Item.name == "table"))

            try:
                items.one(Item.name == "sofa")
            except NoResultFound as error:  # what session.scalars(...).one() raises is caught as before
                print(type(error).__name__, "is caught as SQLAlchemy's NoResultFound")
            try:
                items.delete()
            except UsageError as error:
                print(error)


if __name__ == "__main__":
    main()
