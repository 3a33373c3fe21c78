"""Pages and batches of repositories, through both doors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from dal import AsyncRepository, CursorError, Database, Repository, UsageError, batched, eager, strict
from dal.paging import Page
from tests.paging.conftest import CONFIG, postgresql
from tests.paging.models import AUTHORS, METADATA, Author, Book, fill


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    for engine in postgresql(request):
        METADATA.create_all(engine)
        with Session(engine) as session, session.begin():
            fill(session)
        yield engine


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine, info=CONFIG.info()) as session:
        yield session


@pytest.fixture
async def async_session(engine: Engine) -> AsyncIterator[AsyncSession]:
    async_engine = create_async_engine(engine.url)
    async with AsyncSession(async_engine, info=CONFIG.info()) as session:
        yield session
    await async_engine.dispose()


def test_walking(session: Session) -> None:
    authors = Repository(session, Author)
    page: Page[Author] = authors.page(Author.group == 1, order_by=[Author.nick, Author.born], size=2, total="exact")
    assert page.total is not None
    assert (len(page), page.total.value, page.previous, page.has_previous) == (2, 5, None, False)
    second = authors.page(Author.group == 1, order_by=[Author.nick, Author.born], size=2, after=page.next)
    third = authors.page(Author.group == 1, order_by=[Author.nick, Author.born], size=2, after=second.next)
    assert third.next is None
    found = [*page, *second, *third]
    assert found == authors.list(Author.group == 1, order_by=[Author.nick, Author.born, Author.id])
    back = authors.page(Author.group == 1, order_by=[Author.nick, Author.born], size=2, before=third.previous)
    assert back.items == second.items
    assert back.next is not None
    assert authors.page(Author.group == 1, order_by=[Author.nick, Author.born], size=2, number=2).items == second.items
    assert authors.page(Author.group == 1, order_by=[Author.nick, Author.born], size=2, number=-1).items == found[-2:]
    before_last = authors.page(Author.group == 1, order_by=[Author.nick, Author.born], size=2, number=-2)
    assert before_last.items == found[-4:-2]
    rest = authors.page(Author.group == 1, order_by=[Author.nick, Author.born], size=9, after=before_last.next)
    assert rest.items == found[-2:]


def test_each_item_has_a_cursor(session: Session) -> None:
    authors = Repository(session, Author)
    page = authors.page(order_by=[Author.nick.desc()], size=5)
    for place, edge in enumerate(page.edges):
        assert edge.node is page.items[place]
        rest = authors.page(order_by=[Author.nick.desc()], size=5 - place, after=edge.cursor)
        assert rest.items[: 4 - place] == page.items[place + 1 :]


def test_a_select_of_the_entity(session: Session) -> None:
    books = Repository(session, Book)
    statement = select(Book).join(Book.author).where(Author.active)
    page = books.page(statement, Book.b > 0, order_by=[Author.nick, Book.title], size=3)
    assert page.items == books.list(statement, Book.b > 0, order_by=[Author.nick, Book.title, Book.id], limit=3)
    with pytest.raises(UsageError, match="does not contain"):
        books.page(Author.active)
    with pytest.raises(UsageError, match="order_by"):
        books.page(order_by="title")  # type: ignore[arg-type]


def test_an_empty_page_leads_back(session: Session) -> None:
    authors = Repository(session, Author)
    last = authors.page(order_by=[Author.nick], size=3, number=-1)
    beyond = authors.page(order_by=[Author.nick], size=3, after=last.edges[-1].cursor)
    assert (beyond.items, beyond.next) == ([], None)
    assert authors.page(order_by=[Author.nick], size=3, before=beyond.previous).items == last.items
    first = authors.page(order_by=[Author.nick], size=3)
    ahead = authors.page(order_by=[Author.nick], size=3, before=first.edges[0].cursor)
    assert (ahead.items, ahead.previous) == ([], None)
    assert authors.page(order_by=[Author.nick], size=3, after=ahead.next).items == first.items


@pytest.mark.parametrize("order", [Author.name, Author.nick], ids=["one branch", "several branches"])
@pytest.mark.parametrize(("policy", "statements"), [(eager(Author.books), 2), (eager(Author.books, using="joined"), 1)])
def test_policies(order: Any, policy: Any, statements: int, session: Session) -> None:
    authors = Repository(session, Author)
    page = authors.page(order_by=[order], size=4, policy=policy)
    session.expunge_all()
    sent: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda _, __, sql, *___: sent.append(sql))
    second = authors.page(order_by=[order], size=4, after=page.next, policy=policy)
    assert len(sent) == statements
    assert len(second) == 4
    assert all("books" not in inspect(each).unloaded for each in second)


def test_a_page_loads_in_batches(session: Session) -> None:
    page = Repository(session, Author).page(order_by=[Author.nick], size=5, policy=batched())
    sent: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda _, __, sql, *___: sent.append(sql))
    assert sum(len(author.books) for author in page) > 0
    assert len(sent) == 1
    session.expunge_all()
    strictly = Repository(session, Book).page(policy=strict())
    with pytest.raises(UsageError):
        _ = strictly.items[0].author


def test_to_one_is_joined_on_every_page(session: Session) -> None:
    books = Repository(session, Book, policy=eager(Book.author))
    page = books.page(order_by=[Book.pages], size=4)
    session.expunge_all()
    sent: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda _, __, sql, *___: sent.append(sql))
    second = books.page(order_by=[Book.pages], size=4, after=page.next)
    assert all(book.author for book in second)
    assert len(sent) == 1


@pytest.mark.parametrize("size", [1, 3, AUTHORS, 100])
def test_batches(size: int, session: Session) -> None:
    authors = Repository(session, Author)
    found = list(authors.in_batches(Author.group != 2, size=size))
    everything = authors.list(Author.group != 2, order_by=Author.id)
    assert [author for batch in found for author in batch] == everything
    assert all(len(batch) == size for batch in found[:-1])
    assert list(authors.in_batches(Author.group == 99)) == []
    assert list(authors.stream(Author.group != 2, batch=size, keyset=True)) == everything


def test_a_commit_between_batches(engine: Engine) -> None:
    with Session(engine, info=CONFIG.info()) as session:
        numbers = []
        for batch in Repository(session, Author).in_batches(order_by=Author.nick.desc(), size=4):
            numbers += [author.id for author in batch]
            session.commit()
        assert sorted(numbers) == list(range(1, AUTHORS + 1))
        streamed = []
        for author in Repository(session, Author).stream(order_by=Author.nick, batch=4, keyset=True):
            streamed.append(author.id)
            session.commit()
        assert sorted(streamed) == list(range(1, AUTHORS + 1))


def test_the_walk_sends_one_statement_a_batch(session: Session) -> None:
    sent: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda _, __, sql, *___: sent.append(sql))
    assert len(list(Repository(session, Author).in_batches(size=5))) == 3
    assert len(sent) == 3


async def test_the_async_door(async_session: AsyncSession) -> None:
    authors = AsyncRepository(async_session, Author)
    page = await authors.page(Author.group == 1, order_by=[Author.nick], size=2, total="bounded", owner="me")
    second = await authors.page(Author.group == 1, order_by=[Author.nick], size=2, after=page.next, owner="me")
    third = await authors.page(Author.group == 1, order_by=[Author.nick], size=2, after=second.next, owner="me")
    assert page.total is not None
    assert page.total.value == 5
    listed = await authors.list(Author.group == 1, order_by=[Author.nick, Author.id])
    assert [*page, *second, *third] == listed
    assert (await authors.page(Author.group == 1, order_by=[Author.nick], size=2, before=third.previous, owner="me")).items == (
        second.items
    )
    with pytest.raises(CursorError):
        await authors.page(Author.group == 1, order_by=[Author.nick], size=2, after=page.next)
    batches = [batch async for batch in authors.in_batches(order_by=Author.nick, size=4)]
    assert [len(batch) for batch in batches] == [4, 4, 4, 2]
    streamed = [each async for each in authors.stream(order_by=Author.nick, batch=4, keyset=True)]
    assert streamed == [author for batch in batches for author in batch]
    with pytest.raises(UsageError):
        authors.in_batches(size=0)


def test_a_page_of_a_locked_read(session: Session) -> None:
    statement = select(Author).with_for_update(of=Author)
    authors = Repository(session, Author)
    page = authors.page(statement, order_by=[Author.nick], size=3)
    assert len(authors.page(statement, order_by=[Author.nick], size=3, after=page.next)) == 3


def test_a_database_gives_its_sessions_the_keys(engine: Engine) -> None:
    with Database(engine.url, cursors=CONFIG) as db:
        with db.session() as one:
            page = Repository(one, Author).page(size=2)
        with db.session() as two:
            assert len(Repository(two, Author).page(size=2, after=page.next)) == 2
        with Session(engine) as own:
            assert len(Repository(db.bind(own), Author).page(size=2, after=page.next)) == 2


def test_new_rows_are_seen_on_the_pages_to_come(engine: Engine) -> None:
    with Session(engine, info=CONFIG.info()) as session:
        authors = Repository(session, Author)
        page = authors.page(order_by=[Author.id], size=3)
        template = page.items[0].__dict__
        values = {key: template[key] for key in ("name", "group", "active", "rate", "created", "code", "info")}
        session.execute(insert(Author).values(id=1000, **values))
        assert authors.page(order_by=[Author.id], size=100, after=page.next).items[-1].id == 1000
        session.rollback()
