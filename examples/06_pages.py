"""Walk a table page by page: no row lost where there are NULLs and ties, and nothing slower at the end than at the start."""

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import CursorConfig, CursorError, Database, Repository, using_cursors


class Base(DeclarativeBase):
    pass


class Book(Base):
    __tablename__ = "example06_books"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    year: Mapped[int | None]


BOOKS = [
    ("Emma", 1815),
    ("Beowulf", None),
    ("Ivanhoe", 1819),
    ("Edda", None),
    ("Dracula", 1897),
    ("Carmilla", 1872),
    ("She", 1887),
]


def main() -> None:
    # In production: the same key for every process, from the environment, and production=True.
    cursors = CursorConfig(keys=["a secret of this example"], expires="1h")
    with Database.embedded(cursors=cursors) as db:
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
        by_year = [Book.year.desc().nulls_last()]
        with db.transaction() as session:
            books = Repository(session, Book)
            books.add_all([Book(title=title, year=year) for title, year in BOOKS])

            page = books.page(order_by=by_year, size=3, total="bounded")
            print("page 1:", [book.title for book in page], "of", page.total.value if page.total else "?")
            page = books.page(order_by=by_year, size=3, after=page.next)
            print("page 2:", [book.title for book in page])

            books.delete(Book.title == page.items[-1].title)  # the row that page 3 begins after
            books.add(Book(title="Faust", year=1808))  # and one that was not there
            page = books.page(order_by=by_year, size=3, after=page.next)
            print("page 3:", [book.title for book in page], "and", page.next)
            page = books.page(order_by=by_year, size=3, before=page.previous)
            print("back:", [book.title for book in page])
            last = books.page(order_by=by_year, size=2, number=-1)
            print("the last two:", [book.title for book in last])

            for what, order in (("another order", [Book.title]), ("a changed cursor", by_year)):
                cursor = page.next if what == "another order" else f"{page.next}x"
                try:
                    books.page(order_by=order, after=cursor)
                except CursorError as error:
                    print(f"{what}: {error}")
            with using_cursors(owner="tenant 7"):
                page = books.page(size=2)
            try:
                books.page(size=2, after=page.next)
            except CursorError as error:
                print(f"another tenant's: {error}")

        with db.session() as session:
            for batch in Repository(session, Book).in_batches(order_by=Book.title, size=3):
                print("batch:", [book.title for book in batch])
                session.commit()


if __name__ == "__main__":
    main()
