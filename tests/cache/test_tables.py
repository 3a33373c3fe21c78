"""What statements touch, as far as their text tells."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, create_engine, event, insert, literal_column, select, text

from dal.cache.tables import Touched, names_of, of_statement, of_text, with_cascades

NOTHING: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM users",
        "  select a from users -- update me",
        "/* delete */ SELECT 'insert into users' FROM users",
        "(SELECT 1 FROM users) UNION (SELECT 2 FROM users)",
        "WITH x AS (SELECT 1 FROM users) SELECT * FROM x",
        "TABLE users",
        "SELECT * FROM users FOR NO KEY UPDATE",
        "EXPLAIN SELECT * FROM users",
    ],
)
def test_text_that_reads(sql: str) -> None:
    found = of_text(sql)
    assert found.writes == NOTHING
    assert found.reads is not None
    assert "users" in found.reads


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE users SET a = 1",
        "insert into Users values (1)",
        'DELETE FROM "users"',
        "DELETE FROM `users`",
        "WITH x AS (UPDATE users SET a = 1 RETURNING a) SELECT * FROM x",
        "MERGE INTO shop.users USING other ON true WHEN MATCHED THEN DO NOTHING",
        "TRUNCATE users",
        "COPY users FROM STDIN",
        "DROP TABLE users",
        "ALTER TABLE public.users ADD x int",
        "SELECT * INTO users FROM other",
        "SELECT 1; DELETE FROM users",
        "EXPLAIN ANALYZE UPDATE users SET a = 1",
        "REFRESH MATERIALIZED VIEW users",
        "SOMETHING NEW users",
    ],
)
def test_text_that_writes(sql: str) -> None:
    found = of_text(sql)
    assert found.writes is None or "users" in found.writes


@pytest.mark.parametrize(
    "sql",
    [
        "CALL refill()",
        "DO $$ BEGIN PERFORM 1; END $$",
        "TRUNCATE a CASCADE",
        "DROP SCHEMA x",
        "EXECUTE it(1)",
        "COMMIT PREPARED 'x'",
    ],
)
def test_text_that_may_write_anything(sql: str) -> None:
    assert of_text(sql).writes is None


@pytest.mark.parametrize("sql", ["BEGIN", "SAVEPOINT a", "SET x = 1", "LISTEN a", "ROLLBACK TO a", "", "-- nothing", "VACUUM"])
def test_text_that_writes_no_rows(sql: str) -> None:
    assert of_text(sql) == Touched(NOTHING, NOTHING)


def test_what_sqlalchemy_builds_is_asked() -> None:
    metadata = MetaData()
    a = Table("a", metadata, Column("id", Integer, primary_key=True), schema="main")
    b = Table("b", metadata, Column("id", Integer, primary_key=True))
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    seen: list[Touched] = []
    event.listen(engine, "before_cursor_execute", lambda *given: seen.append(of_statement(given[4], given[2])))
    statements = [
        (select(a), {"a"}, set()),
        (select(a.c.id).where(a.c.id.in_(select(b.c.id))), {"a", "b"}, set()),
        (select(a.join(b, a.c.id == b.c.id)), {"a", "b"}, set()),
        (select(a.alias("x")), {"a"}, set()),
        (select(select(b).cte("c")), {"b"}, set()),
        (insert(a).from_select(["id"], select(b.c.id)), {"a", "b"}, {"a"}),
        (a.update().where(a.c.id == 1).values(id=2), {"a"}, {"a"}),
        (b.delete(), {"b"}, {"b", "-b"}),
    ]
    with engine.connect() as connection:
        for statement, reads, writes in statements:
            connection.execute(statement)
            assert seen[-1] == Touched(frozenset(reads), frozenset(writes))
        connection.execute(select(a.c.id, literal_column("(SELECT max(id) FROM b)")))
        assert {"a", "b"} <= (seen[-1].reads or NOTHING)
        connection.execute(select(a).where(text("EXISTS (SELECT 1 FROM b)")))
        assert {"a", "b"} <= (seen[-1].reads or NOTHING)
        connection.execute(text("SELECT 1 FROM b").execution_options(tables=["main.a"]))
        assert seen[-1] == Touched(frozenset({"a"}), NOTHING)
    engine.dispose()


def test_foreign_keys_that_act_are_followed() -> None:
    metadata = MetaData()
    Table("top", metadata, Column("id", Integer, primary_key=True))
    kept = [
        Table(
            "one", metadata, Column("top", ForeignKey("top.id", ondelete="CASCADE")), Column("id", Integer, primary_key=True)
        ),
        Table(
            "two", metadata, Column("one", ForeignKey("one.id", ondelete="SET NULL")), Column("id", Integer, primary_key=True)
        ),
    ]
    names_of(kept)
    assert with_cascades(["top", "-top"]) == {"top", "one", "two"}
    assert with_cascades(["-one"]) == {"two"}
    assert with_cascades(["top", "two", "-two"]) == {"top", "two"}
    assert with_cascades([]) == NOTHING
