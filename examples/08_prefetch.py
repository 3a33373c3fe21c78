"""Pages from the cache, with the next one loaded before it is asked for."""

from sqlalchemy import ForeignKey, bindparam, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from dal import CursorConfig, Database, PoolConfig, eager, predictive, sequential, using_client


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "example08_authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Book(Base):
    __tablename__ = "example08_books"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("example08_authors.id"))
    title: Mapped[str]
    author: Mapped[Author] = relationship()


def read_on(db: Database) -> None:
    """A visitor who walks: from the second page on, the next one is there before he asks."""
    pager = db.pager(select(Book), order_by=[Book.title], size=10, policy=eager(Book.author), prefetch=sequential())
    cursor = None
    for _ in range(4):
        fetched = db.cache.stats().misses
        page = pager.page(after=cursor, client="visitor 7")
        print(page.items[0].title, "by", page.items[0].author.name, "- statements:", db.cache.stats().misses - fetched)
        cursor = page.next
        db.prefetch.wait()  # the visitor reads; a program has no need to wait
    print(db.prefetch.explain()[1].outcome, "because:", db.prefetch.explain()[1].why)


def go_from_list_to_object(db: Database) -> None:
    """Habits across pagers: who looks at an author's books, looks at the author next."""
    books = db.pager(select(Book).where(Book.author_id == bindparam("author")), size=10, prefetch=predictive())
    authors = db.pager(select(Author), prefetch=predictive())
    with using_client("visitor 8"):
        for author in (1, 2, 3, 4, 5):
            books.page(values={"author": author})
            db.prefetch.wait()
            authors.get(author)
        books.page(values={"author": 9})
    db.prefetch.wait()
    print(db.prefetch.explain()[-1].why)
    stats = db.prefetch.stats().strategies["predictive"]
    print("loaded ahead:", stats.sent, "used so far:", stats.used)


def main() -> None:
    keys = CursorConfig(keys=["a secret of 16 bytes or more"])
    with Database.embedded(pool=PoolConfig(min_pool_size=3, max_pool_size=5), cursors=keys) as db:
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
        with db.transaction() as session:
            session.add_all(Author(id=number, name=f"author {number}") for number in range(1, 11))
            session.flush()
            session.add_all(Book(id=number, title=f"title {number:03}", author_id=number % 10 + 1) for number in range(1, 101))
        db.pool.warm_up("10s")
        read_on(db)
        go_from_list_to_object(db)


if __name__ == "__main__":
    main()
