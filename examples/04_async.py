"""The async door: the same names, arguments and results, awaited."""

import asyncio

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from dal import AsyncDatabase, AsyncRepository, eager


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "example04_authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list["Book"]] = relationship(back_populates="author", order_by="Book.title")


class Book(Base):
    __tablename__ = "example04_books"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("example04_authors.id"))
    title: Mapped[str]
    author: Mapped[Author] = relationship(back_populates="books")


async def main() -> None:
    async with AsyncDatabase.embedded() as db:
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)

        async with db.transaction() as session:
            authors = AsyncRepository(session, Author)
            await authors.add_all(
                [
                    Author(name="Lem", books=[Book(title="Solaris"), Book(title="Fiasco")]),
                    Author(name="Le Guin", books=[Book(title="The Dispossessed")]),
                ]
            )

        async with db.session() as session:
            authors = AsyncRepository(session, Author)
            for author in await authors.list(order_by=Author.name, policy=eager(Author.books)):
                print(author.name, [book.title for book in author.books])
            print("with Solaris:", await authors.count(Author.books.any(Book.title == "Solaris")))


if __name__ == "__main__":
    asyncio.run(main())
