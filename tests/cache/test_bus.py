"""Between processes: what others write is heard; where it may have gone unheard, everything is dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import update
from sqlalchemy.engine import URL

from dal import Database, MemoryCache, UsageError
from dal.cache.bus import Bus
from tests.cache import processes
from tests.cache.conftest import Reader, eventually, stats
from tests.cache.models import Author, authors
from tests.database.doors import Door


@pytest.fixture
def beside(url: URL) -> Iterator[psycopg.Connection[Any]]:
    """A connection that knows nothing of dal."""
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("way", processes.WAYS)
def test_another_process_writes_and_ends(url: URL, way: str) -> None:
    with Database(url, cache=MemoryCache()) as db:
        db.cache.fetch("key", authors)
        done = processes.run("write", url, way, "from another process")
        assert done.returncode == (-9 if way == "is killed" else 0), done.stderr
        eventually(lambda: not db.cache.has("key"))
        assert {author.name for author in db.cache.fetch("key", authors)} == {"from another process"}


def test_a_forked_child_begins_anew(url: URL) -> None:
    with Database(url, cache=MemoryCache()) as db:
        db.cache.fetch("key", authors)
        done = processes.run("fork_and_write", url, "from a child")
        assert done.returncode == 0, done.stderr
        eventually(lambda: not db.cache.has("key"))
        assert db.cache.fetch("key", authors)[0].name == "from a child"


@pytest.mark.parametrize(
    "payload", ["authors", "public.authors, notes", '["authors"]', "", "*", '{"half', '{"tables": ["authors"]}']
)
def test_other_programs_may_tell(db: Door, beside: psycopg.Connection[Any], payload: str) -> None:
    read = Reader(db, authors)
    read()
    beside.execute("SELECT pg_notify('dal_cache', %s)", (payload,))
    eventually(lambda: not read.kept)


@pytest.mark.parametrize("payload", ["notes", '["notes"]'])
def test_what_they_tell_of_other_tables_is_left_alone(db: Door, beside: psycopg.Connection[Any], payload: str) -> None:
    authors_read, marker = Reader(db, authors), Reader(db, lambda session: 1, "marker")
    authors_read()
    db.call(lambda each: each.cache.fetch("marker", lambda session: 1, tables=["marker"]))
    beside.execute("SELECT pg_notify('dal_cache', %s)", (payload,))
    beside.execute("SELECT pg_notify('dal_cache', 'marker')")
    eventually(lambda: not marker.kept)
    assert authors_read.kept


def test_a_lost_connection_drops_everything(db: Door, beside: psycopg.Connection[Any]) -> None:
    read = Reader(db, authors)
    read()
    before = stats(db).restarts
    own = "application_name = 'dal cache' AND datname = current_database()"
    beside.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {own}".encode())
    eventually(lambda: stats(db).restarts >= before + 2)
    assert not read.kept
    read()
    assert (read.loads, read.kept) == (2, True)
    beside.execute("SELECT pg_notify('dal_cache', 'authors')")
    eventually(lambda: not read.kept)


def test_where_nothing_can_be_heard_nothing_is_kept_but_others_are_told(
    url: URL, opened: Callable[..., Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = url.set(host="127.0.0.1", port=1, query={})
    deaf = opened(cache=MemoryCache(listen_url=nowhere))
    read = Reader(deaf, authors)
    assert (len(read()), len(read()), read.loads) == (4, 4, 2)
    assert not stats(deaf).listening
    with Database(url, cache=MemoryCache()) as hearing:
        hearing.cache.fetch("key", authors)
        # In one process the two find each other's engines; what comes by message is what is looked at here.
        monkeypatch.setattr(hearing.cache._shelf, "committed", lambda tables, doubtful: None)
        deaf.run(lambda session: session.execute(update(Author).values(name="told by the commit")))
        eventually(lambda: not hearing.cache.has("key"))
        assert hearing.cache.fetch("key", authors)[0].name == "told by the commit"


def test_a_commit_in_doubt_is_told_again(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[frozenset[str]] = []
    send = Bus._notify

    def noting(bus: Bus, connection: Any, tables: frozenset[str]) -> Any:
        told.append(tables)
        return send(bus, connection, tables)

    monkeypatch.setattr(Bus, "_notify", noting)
    monkeypatch.setattr("dal.cache.bus._TICK", 0.05)
    with Database(url, cache=MemoryCache()) as db:
        db.cache.fetch("key", authors)
        monkeypatch.setattr(db.engine.dialect, "do_commit", failing_commit(db))
        session = db.session()
        session.execute(update(Author).values(name="x"))
        with pytest.raises(ConnectionError):
            session.commit()
        session.close()
        assert not db.cache.has("key")
        eventually(lambda: len(told) >= 3)
        assert set(told) == {frozenset({"authors"})}


def failing_commit(db: Database) -> Callable[..., Any]:
    """Make a COMMIT whose reply is lost, below the watch."""
    watch: Any = db.cache._watch._watched[0]  # type: ignore[union-attr]

    def commit(connection: Any) -> None:
        raise ConnectionError("the reply was lost")

    made: Callable[..., Any] = watch._after_commit(db.engine.dialect, commit)
    return made


def test_through_a_pooler_nothing_can_be_heard(url: URL) -> None:
    with pytest.raises(UsageError, match="PgBouncer") as refused:
        Database(url, pgbouncer=True, cache=MemoryCache())
    assert "listen_url" in refused.value.hint
    with Database(url, pgbouncer=True, cache=MemoryCache(listen_url=url)) as db:
        assert len(db.cache.fetch("key", authors)) == 4
        assert db.cache.has("key")
