"""What goes by COPY in a flush, what does not and why, and what is left when it fails."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, Insert, event, func, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.compiler import compiles, deregister
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateSchema, CreateTable

from dal import AsyncDatabase, Database, MemoryCache
from dal.bulk import _internals
from dal.bulk.flush import Fallback, bulk_flush, report
from dal.detection import detect
from dal.errors import UsageError
from dal.testing import Server
from tests.bulk.conftest import POOL
from tests.bulk.flush.models import Badge, Base, Engineer, Keyless, Node, Odd, Secret, Ticket, User

NUMBER = 120


def users(number: int = NUMBER, start: int = 0) -> list[User]:
    """Make new users."""
    return [User(email=f"{at}@example.org", age=at % 90) for at in range(start, start + number)]


@pytest.fixture(scope="module")
def opened(dal_server: Server) -> Iterator[Database]:
    """A PostgreSQL with the tables in it, for this module."""
    name = f"bulk_flush_{uuid.uuid4().hex}"
    with Database(dal_server.create_database(name), pool=POOL) as db:
        Base.metadata.create_all(db.engine)
        yield db
    dal_server.drop_database(name)


@pytest.fixture
def flushes(opened: Database) -> Iterator[Database]:
    """The same, emptied afterwards."""
    yield opened
    with opened.engine.begin() as connection:
        tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))


@pytest.fixture
def sent(flushes: Database) -> Iterator[list[str]]:
    """The statements that an application's listener sees."""
    seen: list[str] = []

    def hear(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(" ".join(statement.split()[:2]))

    event.listen(flushes.engine, "before_cursor_execute", hear)
    yield seen
    event.remove(flushes.engine, "before_cursor_execute", hear)


def test_many_new_objects_go_by_one_copy_and_have_their_ids_and_defaults(flushes: Database, sent: list[str]) -> None:
    with flushes.session(bulk_flush=True) as session:
        objects = users()
        session.add_all(objects)
        session.flush()
        assert sent == ["COPY users"]
        assert [each.id for each in objects] == list(range(1, NUMBER + 1))
        assert {(each.plan, each.balance) for each in objects} == {("free", Decimal(7))}
        session.commit()
        assert session.scalar(select(func.count()).select_from(User)) == NUMBER
        assert bulk_flush(session).copied == {"users": NUMBER}
        assert bulk_flush(session).fallbacks == ()


def test_few_objects_stay_with_insert(flushes: Database, sent: list[str]) -> None:
    with flushes.transaction(bulk_flush=True) as session:
        session.add_all(users(3))
        session.flush()
        assert sent == ["INSERT INTO"]
        assert bulk_flush(session).few == 3
        assert bulk_flush(session).copied == {}


def test_a_session_that_did_not_ask_flushes_as_ever(flushes: Database, sent: list[str]) -> None:
    with flushes.transaction(bulk_flush=True) as other, flushes.transaction() as session:
        bulk_flush(other)
        session.add_all(users())
        session.flush()
        assert set(sent) == {"INSERT INTO"}


def test_joined_inheritance_a_tree_and_keys_of_parents(flushes: Database, sent: list[str]) -> None:
    with flushes.transaction(bulk_flush=True) as session:
        top = Node(name="top")
        session.add_all([Node(name=f"n{at}", above=top) for at in range(NUMBER)])
        session.add_all([Engineer(name=f"e{at}", language="python", badges=[Badge(), Badge()]) for at in range(NUMBER)])
        session.flush()
        assert sorted(sent) == sorted(["INSERT INTO", "COPY nodes", "COPY people", "COPY engineers", "COPY badges"])
        assert bulk_flush(session).copied == {"nodes": NUMBER, "people": NUMBER, "engineers": NUMBER, "badges": 2 * NUMBER}
    with flushes.session() as session:
        assert session.scalar(select(func.count()).select_from(Engineer).join(Badge)) == 2 * NUMBER
        assert session.scalar(select(func.count()).select_from(Node).where(Node.above_id.is_not(None))) == NUMBER


def test_an_error_is_sqlalchemys_and_the_session_goes_on_after_a_rollback(flushes: Database) -> None:
    with flushes.session(bulk_flush=True) as session:
        session.add_all([*users(), User(email="5@example.org")])
        with pytest.raises(IntegrityError) as caught:
            session.flush()
        assert getattr(caught.value.orig, "sqlstate", None) == "23505"
        assert caught.value.statement is not None
        assert caught.value.statement.startswith("INSERT INTO users")
        with pytest.raises(Exception, match="rolled back due to a previous exception"):
            session.scalar(select(User.id))
        session.rollback()
        objects = users()
        session.add_all(objects)
        session.commit()
        assert len({each.id for each in objects}) == NUMBER


def test_a_savepoint_takes_back_its_rows_and_no_others(flushes: Database) -> None:
    with flushes.session(bulk_flush=True) as session:
        session.add_all(users())
        session.flush()
        with pytest.raises(IntegrityError), session.begin_nested():
            session.add_all(users(NUMBER, start=50))
            session.flush()
        with session.begin_nested():
            session.add_all(users(NUMBER, start=1_000))
        session.commit()
        assert session.scalar(select(func.count()).select_from(User)) == 2 * NUMBER


def test_two_phases(flushes: Database) -> None:
    with Session(flushes.engine, twophase=True) as session:
        bulk_flush(session)
        session.add_all(users())
        session.prepare()
        session.commit()
        assert bulk_flush(session).copied == {"users": NUMBER}
    with flushes.session() as session:
        assert session.scalar(select(func.count()).select_from(User)) == NUMBER


def test_a_fault_that_is_not_of_the_rows_is_not_tried_again_by_insert(flushes: Database, sent: list[str]) -> None:
    with flushes.session() as other, flushes.session(bulk_flush=True) as session:
        session.execute(text("SET LOCAL lock_timeout = '50ms'"))
        session.execute(text("SELECT FROM users"))
        other.execute(text("LOCK TABLE users IN SHARE MODE"))
        sent.clear()
        session.add_all(users())
        with pytest.raises(OperationalError) as caught:
            session.flush()
        assert getattr(caught.value.orig, "sqlstate", None) == "55P03"
        assert sent == ["COPY users"]


def test_a_connection_that_dies_in_the_copy(flushes: Database) -> None:
    @event.listens_for(flushes.engine, "before_cursor_execute")
    def kill(connection: Connection, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("COPY"):
            driver: Any = connection.connection.driver_connection
            with flushes.engine.connect() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({driver.info.backend_pid}, 5000)")

    with flushes.session(bulk_flush=True) as session:
        session.add_all(users())
        with pytest.raises(OperationalError) as caught:
            session.flush()
        assert caught.value.connection_invalidated
        session.rollback()
        event.remove(flushes.engine, "before_cursor_execute", kill)
        session.add_all(users())
        session.commit()
        assert session.scalar(select(func.count()).select_from(User)) == NUMBER


async def test_the_async_door(flushes: Database) -> None:
    async with AsyncDatabase(flushes.url, pool=POOL) as db:
        async with db.transaction(bulk_flush=True) as session:
            session.add_all([Engineer(name=f"e{at}", language="python", badges=[Badge()]) for at in range(NUMBER)])
            await session.flush()
            assert bulk_flush(session).copied == {"people": NUMBER, "engineers": NUMBER, "badges": NUMBER}
        async with db.session(bulk_flush=True) as session:
            session.add_all([*users(), User(email="5@example.org")])
            with pytest.raises(IntegrityError):
                await session.commit()
            await session.rollback()
            session.add_all([*users(), User(email="nul \0")])
            with pytest.raises(DBAPIError, match="NUL"):
                await session.commit()


def test_detection_sees_one_statement_and_finds_nothing(flushes: Database) -> None:
    with detect() as found, flushes.session(bulk_flush=True) as session:
        for start in range(0, 5 * NUMBER, NUMBER):
            session.add_all(users(start=start))
            session.flush()
        session.rollback()
    assert found.count == 5
    assert not found.findings


def test_a_cache_forgets_what_it_has_of_the_table(flushes: Database) -> None:
    with Database(flushes.url, pool=POOL, cache=MemoryCache()) as db:

        def count() -> int:
            return db.cache.fetch("users", lambda session: session.scalar(select(func.count()).select_from(User)) or 0)

        assert count() == 0
        with db.transaction(bulk_flush=True) as session:
            session.add_all(users())
        assert count() == NUMBER


def test_each_reason_is_told_and_logged_once(flushes: Database, caplog: pytest.LogCaptureFixture) -> None:
    report._told.clear()
    with caplog.at_level(logging.INFO, "dal.bulk.flush"), flushes.session(bulk_flush=True) as session:
        for start in (0, NUMBER):
            session.add_all([User(email=f"{at}", age=func.length("abc")) for at in range(start, start + NUMBER)])
            session.flush()
        found = bulk_flush(session)
    reason = "attributes are set to SQL expressions"
    assert found.fallbacks == (Fallback("User", "users", reason, 2 * NUMBER),)
    assert caplog.messages == [f"User is flushed by INSERT into users: {reason}"]
    assert repr(found) == f"<FlushReport User: 240 by INSERT ({reason})>"


REASONS: dict[str, tuple[str, Callable[[int], Any]]] = {
    "row-level security": (
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY; ALTER TABLE users FORCE ROW LEVEL SECURITY;"
        "CREATE POLICY all_ ON users USING (true); CREATE ROLE {role}; GRANT ALL ON users TO {role}; "
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}; SET ROLE {role}",
        lambda at: User(email=str(at)),
    ),
    "has a rule for INSERT": (
        "CREATE RULE r AS ON INSERT TO users DO ALSO NOTHING",
        lambda at: User(email=str(at)),
    ),
    "has a trigger that may change a row": (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id := NEW.id + 1000; RETURN NEW; END';"
        "CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f()",
        lambda at: User(email=str(at)),
    ),
    "the role may not take ids of tickets.id": (
        "CREATE ROLE {role}; GRANT ALL ON tickets TO {role}; SET ROLE {role}",
        lambda at: Ticket(),
    ),
    "has values that an INSERT would cast: float": ("", lambda at: User(email=str(at), age=1.5)),
    "has no primary key, only its mapper has": ("", lambda at: Keyless(id=at)),
    "go through an SQL expression of its type": ("", lambda at: Secret(word="w")),
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_goes_by_insert_and_why(flushes: Database, reason: str) -> None:
    before, make = REASONS[reason]
    with flushes.session(bulk_flush=True) as session:
        if before:
            session.execute(text(before.replace("{role}", f"dal_flush_{uuid.uuid4().hex}")))
        objects = [make(at) for at in range(NUMBER)]
        session.add_all(objects)
        session.flush()
        (fallback,) = bulk_flush(session).fallbacks
        assert reason in fallback.reason
        assert fallback.rows == NUMBER
        assert len({each.id for each in objects}) == NUMBER
        assert session.scalar(select(func.count()).select_from(type(objects[0]))) == NUMBER


def test_a_value_for_an_id_that_is_always_generated_is_refused_as_ever(flushes: Database) -> None:
    with flushes.session(bulk_flush=True) as session:
        session.add_all([Ticket(id=at + 1) for at in range(NUMBER)])
        with pytest.raises(DBAPIError) as caught:
            session.flush()
        assert getattr(caught.value.orig, "sqlstate", None) == "428C9"


def test_each_statement_a_transaction(flushes: Database) -> None:
    with Session(flushes.engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        found = bulk_flush(session)
        session.add_all(users())
        session.commit()
    assert "transaction of its own" in found.fallbacks[0].reason


def test_an_application_that_rewrites_inserts(flushes: Database) -> None:
    @compiles(Insert)
    def quietly(element: Any, compiler: Any, **options: Any) -> str:
        return f"{compiler.visit_insert(element, **options)} /* rewritten */"

    try:
        with flushes.session(bulk_flush=True) as session:
            session.add_all(users())
            session.flush()
            assert "@compiles" in bulk_flush(session).fallbacks[0].reason
    finally:
        deregister(Insert)
    with flushes.session(bulk_flush=True) as session:
        session.add_all(users())
        session.flush()
        assert bulk_flush(session).copied == {"users": NUMBER}


def test_partitions_odd_names_and_a_translated_schema(flushes: Database) -> None:
    translated = {"schema_translate_map": {"tenant": "odd % schema"}}
    with flushes.engine.connect().execution_options(**translated) as connection, Session(connection) as session:
        connection.execute(CreateSchema("odd % schema"))
        connection.execute(CreateTable(Odd.__table__))  # type: ignore[arg-type]
        connection.execute(text('CREATE TABLE "odd % schema".one PARTITION OF "odd % schema"."odd % table" FOR VALUES IN (1)'))
        connection.execute(text('CREATE TABLE "odd % schema".two PARTITION OF "odd % schema"."odd % table" DEFAULT'))
        found = bulk_flush(session)
        objects = [Odd(part=at % 3, word=f"{at} %") for at in range(NUMBER)]
        session.add_all(objects)
        session.flush()
        assert found.copied == {"tenant.odd % table": NUMBER}
        session.expire_all()
        assert [(each.id, each.word, each.note) for each in objects] == [(at + 1, f"{at} %", "50 %") for at in range(NUMBER)]


def test_rows_of_which_some_leave_a_default_to_the_server(flushes: Database) -> None:
    with flushes.session(bulk_flush=True) as session:
        objects = [User(email=str(at), balance=at) if at % 2 else User(email=str(at), plan="paid") for at in range(NUMBER)]
        session.add_all(objects)
        session.flush()
        assert bulk_flush(session).copied == {}
        assert "numeric(12,2)" in bulk_flush(session).fallbacks[0].reason
        objects = [User(email=f"{at} x", age=at, id=1_000 + at) if at % 2 else User(email=f"{at} x") for at in range(NUMBER)]
        session.add_all(objects)
        session.flush()
        assert bulk_flush(session).copied == {"users": NUMBER}
        assert [each.id for each in objects[::2]] == list(range(NUMBER + 1, NUMBER + NUMBER // 2 + 1))


def test_other_ways_to_insert_in_the_same_session_are_not_touched(flushes: Database, sent: list[str]) -> None:
    with flushes.session(bulk_flush=True) as session:
        session.bulk_save_objects(users())
        found = session.scalars(insert(User).returning(User), [{"email": str(at)} for at in range(NUMBER)]).all()
        assert len(found) == NUMBER
        assert set(sent) == {"INSERT INTO"}
        assert repr(bulk_flush(session)) == "<FlushReport nothing flushed>"


@pytest.mark.parametrize("server", ["sqlite", "mariadb"])
def test_a_database_without_copy(server: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("mariadb") if server == "mariadb" else "sqlite://"
    with Database(url) as db:
        Base.metadata.create_all(db.engine, [User.__table__])  # type: ignore[list-item]
        with db.session(bulk_flush=True) as session:
            objects = users()
            session.add_all(objects)
            session.commit()
            assert "has no COPY" in bulk_flush(session).fallbacks[0].reason
            assert len({each.id for each in objects}) == NUMBER


def test_another_sqlalchemy_switches_it_off(flushes: Database, sent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_internals._READ, "_postfetch", "dialect")
    _internals.missing.cache_clear()
    try:
        with flushes.session(bulk_flush=True) as session:
            assert "orm.persistence._postfetch" in str(bulk_flush(session).off)
    finally:
        monkeypatch.undo()
        _internals.missing.cache_clear()
    assert _internals.missing() == []


def test_what_is_no_session() -> None:
    with pytest.raises(UsageError, match="is no session"):
        bulk_flush(object())
