"""Keep what was read until something it was read from is written.

Whatever writes to those tables spoils it when it commits: the ORM, Core, text, bulk writers, and other processes. What comes
out of the cache is detached and the caller's own; what the query did not load is refused with the line that would load it.
"""

from sqlalchemy import ForeignKey, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from dal import Database, MemoryCache, NotLoaded, eager
from dal.cache import dictionaries, shapes


class Base(DeclarativeBase):
    pass


class Shop(Base):
    __tablename__ = "example07_shops"

    id: Mapped[int] = mapped_column(primary_key=True)
    city: Mapped[str]
    items: Mapped[list["Item"]] = relationship(back_populates="shop", order_by="Item.id")
    visits: Mapped[list["Visit"]] = relationship()


class Item(Base):
    __tablename__ = "example07_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("example07_shops.id"))
    name: Mapped[str]
    shop: Mapped[Shop] = relationship(back_populates="items")


class Visit(Base):
    __tablename__ = "example07_visits"

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("example07_shops.id"))


def shops(session: Session) -> list[Shop]:
    """Read all shops with their items."""
    print("  (the database is asked)")
    return list(session.scalars(select(Shop).options(eager(Shop.items)).order_by(Shop.id)))


def main() -> None:
    with Database.embedded(cache=MemoryCache(max_bytes=64_000_000, ttl="10m")) as db:
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
        with db.transaction() as session:
            session.add(Shop(id=1, city="Oslo", items=[Item(id=1, name="tea"), Item(id=2, name="cup")]))

        print("the first asks the database, the second does not:")
        db.cache.fetch("shops", shops)
        found = db.cache.fetch("shops", shops)
        print(" ", found[0].city, [item.name for item in found[0].items])

        print("a copy is the caller's own:")
        found[0].city = "changed by one caller"
        print(" ", db.cache.fetch("shops", shops)[0].city)

        print("what was not loaded says so:")
        try:
            found[0].visits  # noqa: B018
        except NotLoaded as error:
            print(" ", error)

        print("a commit spoils what was read from the table, a rollback does not, nor does another table:")
        with db.session() as session:
            session.execute(text("UPDATE example07_items SET name = 'rolled back'"))
            session.rollback()
        with db.transaction() as session:
            session.add(Visit(id=1, shop_id=1))
        print("  kept:", db.cache.has("shops"))
        with db.transaction() as session:
            session.execute(text("UPDATE example07_items SET name = upper(name)"))
        print("  kept:", db.cache.has("shops"))

        print("other forms, for pages that are only shown:")
        print(" ", db.cache.fetch("shops", shops, form=dictionaries)[0]["items"][0]["name"])
        print(" ", db.cache.fetch("shops", shops, form=shapes)[0].items[1])

        stats = db.cache.stats()
        print(f"{stats.hits} hits, {stats.misses} misses, {stats.spoiled} spoiled")


if __name__ == "__main__":
    main()
