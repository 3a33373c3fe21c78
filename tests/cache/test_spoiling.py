"""Whatever writes, and however: what was read from it is dropped after the commit, and nothing else; both doors."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, delete, insert, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session, selectinload

from dal import BulkWriter, Database, MemoryCache, UsageError
from tests.cache.conftest import Reader, as_awaited, stats
from tests.cache.models import Author, Book, Note, authors
from tests.database.doors import Door

AUTHORS: Any = Author.__table__


def orm_change(session: Session) -> None:
    session.get_one(Author, 1).name = "changed"


def orm_insert(session: Session) -> None:
    session.add(Author(id=50, name="new"))


def orm_delete(session: Session) -> None:
    session.delete(session.get_one(Author, 1))


def in_a_savepoint(session: Session) -> None:
    with session.begin_nested():
        session.get_one(Author, 1).name = "changed"


def beside_a_rolled_back_savepoint(session: Session) -> None:
    session.execute(update(Author).values(name="changed"))
    with session.begin_nested() as savepoint:
        session.add(Note(id=1))
        session.flush()
        savepoint.rollback()


WRITES: dict[str, Callable[[Session], Any]] = {
    "a change of an object": orm_change,
    "a new object": orm_insert,
    "a deleted object": orm_delete,
    "a savepoint": in_a_savepoint,
    "beside a savepoint rolled back": beside_a_rolled_back_savepoint,
    "update()": lambda session: session.execute(update(Author).where(Author.id == 1).values(name="changed")),
    "delete()": lambda session: session.execute(delete(Author).where(Author.id == 1)),
    "insert() of many": lambda session: session.execute(insert(Author), [{"id": 60, "name": "x"}, {"id": 61, "name": "y"}]),
    "a Core statement": lambda session: session.execute(update(AUTHORS).values(name="changed")),
    "a CTE that writes": lambda session: session.execute(
        select(insert(AUTHORS).values(id=60, name="x", options={}, token="0" * 32).returning(AUTHORS.c.id).cte("made"))
    ),
    "text": lambda session: session.execute(text("UPDATE authors SET name = 'changed'")),
    "quoted text with a schema": lambda session: session.execute(text('UPDATE "public"."authors" SET name = \'changed\'')),
    "text with WITH": lambda session: session.execute(text("WITH x AS (DELETE FROM authors RETURNING id) SELECT 1 FROM x")),
    "several statements in a text": lambda session: session.connection().exec_driver_sql(
        "SELECT 1; UPDATE authors SET name = 'changed'"
    ),
    "the driver's SQL": lambda session: session.connection().exec_driver_sql("UPDATE authors SET name = 'changed'"),
    "DO": lambda session: session.connection().exec_driver_sql("DO $$ BEGIN UPDATE authors SET name = 'x'; END $$"),
    "TRUNCATE with CASCADE": lambda session: session.execute(text("TRUNCATE books, notes, authors CASCADE")),
    "text named by tables=": lambda session: session.execute(
        text("UPDATE authors SET name = 'changed'").execution_options(tables=["authors"])
    ),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_commit_spoils(db: Door, write: Callable[[Session], Any]) -> None:
    read = Reader(db, authors)
    read()

    def work(session: Session) -> None:
        write(session)
        session.flush()
        assert read_kept(db)

    db.run(work)
    assert not read.kept
    read()
    read()
    assert read.loads == 2


def read_kept(door: Door) -> bool:
    """Look past the door, which may be busy."""
    cache: Any = door.db.cache  # type: ignore[attr-defined]
    found: bool = cache.has("key")
    return found


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_rollback_spoils_nothing(db: Door, write: Callable[[Session], Any]) -> None:
    read = Reader(db, authors)
    read()

    def work(session: Session) -> None:
        write(session)
        session.flush()
        session.rollback()

    db.session(work)
    assert read.kept


OTHERS: dict[str, Callable[[Session], Any]] = {
    "another table": lambda session: session.execute(insert(Note), [{"id": 1}]),
    "a read": lambda session: session.execute(select(Author)),
    "a read for update": lambda session: session.execute(select(Book).with_for_update()),
    "text that reads": lambda session: session.execute(text("SELECT name, 'update' FROM authors")),
    "text that names another table": lambda session: session.execute(
        text("UPDATE authors SET name = name").execution_options(tables="notes")
    ),
    "SET": lambda session: session.execute(text("SET LOCAL lock_timeout = '5s'")),
}


@pytest.mark.parametrize("write", OTHERS.values(), ids=OTHERS.keys())
def test_what_touches_something_else_spoils_nothing(db: Door, write: Callable[[Session], Any]) -> None:
    read = Reader(db, authors)
    read()
    db.run(lambda session: write(session))
    assert read.kept


def test_what_foreign_keys_do_is_followed(db: Door) -> None:
    books = Reader(db, lambda session: session.scalars(select(Book)).all(), "books")
    notes = Reader(db, lambda session: session.scalars(select(Note)).all(), "notes")
    books()
    notes()
    db.run(lambda session: session.execute(text("DELETE FROM authors WHERE id = 1")))
    assert len(books()) == 6
    assert notes.kept


def test_what_the_loading_adds_counts_too(db: Door) -> None:
    read = Reader(db, lambda session: session.scalars(select(Author).options(selectinload(Author.books))).all())
    read()
    db.run(lambda session: session.execute(update(Book).values(title="changed")))
    assert not read.kept
    assert {book.title for author in read() for book in author.books} == {"changed"}


def test_text_that_reads_is_spoiled_by_every_name_in_it(db: Door) -> None:
    read = Reader(db, lambda session: session.execute(text("SELECT a.name FROM public.authors a ORDER BY 1")).all())
    assert read()[0].name == "a1"
    db.run(orm_change)
    assert read()[-1].name == "changed"


def test_what_is_not_committed_never_enters(db: Door) -> None:
    read = Reader(db, authors)

    def work(session: Session) -> None:
        session.execute(update(Author).values(name="uncommitted"))
        session.flush()
        assert {author.name for author in sync_fetch(db, "key", authors)} == {"a1", "a2", "a3", "a4"}
        session.rollback()

    db.session(work)
    assert {author.name for author in read()} == {"a1", "a2", "a3", "a4"}


def sync_fetch(door: Door, key: str, load: Callable[..., Any]) -> Any:
    """Fetch inside the code of a unit, as a pager does: under asyncio through the core."""
    cache: Any = door.db.cache  # type: ignore[attr-defined]
    return getattr(cache, "core", cache).fetch(key, load)


def test_a_write_while_a_value_is_fetched_refuses_it(db: Door) -> None:
    raced: list[int] = []

    def load(session: Session) -> Any:
        found = authors(session)
        if not raced:
            raced.append(1)
            other = create_engine(session.get_bind().url)  # type: ignore[union-attr]
            with other.begin() as connection:
                connection.execute(update(AUTHORS).values(name="changed"))
            other.dispose()
        return found

    read = Reader(db, load)
    assert read()[0].name == "a1"
    assert not read.kept
    assert stats(db).refused == 1
    assert read()[0].name == "changed"
    assert read.kept


def test_a_function_that_writes_is_not_kept(db: Door) -> None:
    def load(session: Session) -> Any:
        session.execute(update(Author).values(name="written"))
        return session.execute(text("SELECT name FROM authors")).scalars().all()

    read = Reader(db, load)
    assert set(read()) == {"written"}
    assert not read.kept
    assert Reader(db, authors, "after")()[0].name == "a1"


def test_an_engine_of_the_applications_own_is_found(url: URL, db: Door) -> None:
    read = Reader(db, authors)
    read()
    own = create_engine(url)
    with Session(own) as session:
        orm_change(session)
        session.commit()
    own.dispose()
    assert not read.kept


def test_statements_in_autocommit_spoil_at_once(url: URL, db: Door) -> None:
    read = Reader(db, authors)
    own = create_engine(url, isolation_level="AUTOCOMMIT")
    with own.connect() as connection:
        read()
        connection.execute(update(AUTHORS).values(name="changed"))
        assert not read.kept
    own.dispose()


def test_an_engine_with_options_and_the_one_behind_it(url: URL, db: Door) -> None:
    own = create_engine(url)
    with own.execution_options(stream_results=False).connect() as connection:
        connection.execute(select(AUTHORS))
    read = Reader(db, authors)
    for engine in (own, own.execution_options(isolation_level="READ COMMITTED")):
        read()
        with engine.begin() as connection:
            connection.execute(update(AUTHORS).values(name="changed"))
        assert not read.kept
    own.dispose()


def test_commit_as_text_spoils(url: URL, db: Door) -> None:
    read = Reader(db, authors)
    own = create_engine(url)
    with own.connect() as connection:
        read()
        connection.execute(update(AUTHORS).values(name="changed"))
        connection.exec_driver_sql("COMMIT")
        assert not read.kept
    own.dispose()


def test_two_phases(url: URL, db: Door) -> None:
    read = Reader(db, authors)
    own = create_engine(url)
    with own.connect() as connection:
        transaction = connection.begin_twophase()
        connection.execute(update(AUTHORS).values(name="changed"))
        read()
        transaction.prepare()
        before = read.kept
        transaction.commit()
        assert (before, read.kept) == (True, False)
    with own.connect() as connection:
        transaction = connection.begin_twophase()
        connection.execute(update(AUTHORS).values(name="again"))
        read()
        transaction.prepare()
        transaction.rollback()
        assert read.kept
    own.dispose()


def test_tables_spoiled_by_name(db: Door) -> None:
    read = Reader(db, authors)

    def spoil(*tables: Any, **within: Any) -> None:
        db.call(lambda each: as_awaited(each, each.cache.spoil(*tables, **within)))

    for tables in (("authors",), ("PUBLIC.Authors",), (Author,), (AUTHORS,), ()):
        read()
        spoil(*tables)
        assert not read.kept
    read()
    spoil("notes", Book)
    assert read.kept
    with pytest.raises(UsageError, match="no table"):
        spoil(5)


def test_tables_spoiled_within_a_transaction(url: URL) -> None:
    with Database(url, cache=MemoryCache()) as db:
        db.cache.fetch("key", authors)
        with db.session() as session:
            db.cache.spoil(Author, within=session)
            assert db.cache.has("key")
            session.rollback()
            db.cache.spoil(Author, within=session)
            session.commit()
            assert not db.cache.has("key")
        db.cache.fetch("key", authors)
        with db.engine.begin() as connection:
            db.cache.spoil("authors", within=connection)
        assert not db.cache.has("key")


def test_bulk_writers_are_seen(db: Door) -> None:
    read = Reader(db, authors)
    new = [{"id": 70 + each, "name": "new", "token": uuid.uuid4(), "options": {}} for each in range(3)]

    def write(session: Session) -> None:
        BulkWriter(session, Author).insert(new)
        assert read_kept(db)

    read()
    db.run(write)
    assert len(read()) == 7
    assert read.loads == 2


def test_a_table_may_name_others(url: URL) -> None:
    noted: Any = Note.__table__
    noted.info["tables"] = ["authors"]
    try:
        with Database(url, cache=MemoryCache()) as db:
            db.cache.fetch("key", authors)
            with db.engine.begin() as connection:
                connection.execute(noted.insert().values(id=77))
            assert not db.cache.has("key")
    finally:
        noted.info.clear()


def test_two_caches_of_one_process_do_not_undo_each_other(url: URL) -> None:
    with Database(url, cache=MemoryCache()) as first:
        for _ in range(2):
            with Database(url, cache=MemoryCache()) as second:
                for writer in (first, second):
                    both = first.cache, second.cache
                    for cache in both:
                        cache.fetch("key", authors)
                    with writer.transaction() as session:
                        session.execute(update(Author).values(name="x"))
                    assert not any(cache.has("key") for cache in both)
                    for cache in both:
                        cache.fetch("key", authors)
                    with writer.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                        connection.execute(update(AUTHORS).values(name="x"))
                    assert not any(cache.has("key") for cache in both)
                    for cache in both:
                        cache.fetch("key", authors)
                    with writer.engine.connect() as connection:
                        transaction = connection.begin_twophase()
                        connection.execute(update(AUTHORS).values(name="x"))
                        transaction.prepare()
                        transaction.commit()
                    assert not any(cache.has("key") for cache in both)
            first.cache.fetch("key", authors)
            with first.transaction() as session:
                session.execute(update(Author).values(name="y"))
            assert not first.cache.has("key")
        last = Database(url, cache=MemoryCache())
        with last.session() as session:
            session.execute(select(Author))
    last.cache.fetch("key", authors)
    with last.transaction() as session:
        session.execute(update(Author).values(name="z"))
    assert not last.cache.has("key")
    last.close()


def test_a_closed_cache_leaves_the_engine_as_it_was(url: URL) -> None:
    own = create_engine(url)
    commit = own.dialect.do_commit
    with Database(url, cache=MemoryCache()) as db:
        with own.connect() as connection:
            db.cache.fetch("key", authors)
            connection.execute(update(AUTHORS).values(name="changed"))
            connection.commit()
        assert own.dialect.do_commit != commit
    assert own.dialect.do_commit == commit
    assert "dal-cache-bus" not in {thread.name for thread in threading.enumerate()}
    own.dispose()
