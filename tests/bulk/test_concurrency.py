"""Many writers at once, writers whose connection is lost, and transactions of a part each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, text

from dal import BulkWriter, Database, PoolConfig, RowError, UsageError
from tests.bulk.models import Base, City, User

KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE query LIKE 'COPY%' AND pid <> pg_backend_pid() AND datname = current_database()"
)


@pytest.fixture
def busy(dal_database: Any) -> Iterator[Database]:
    with Database(dal_database, pool=PoolConfig(min_pool_size=1, max_pool_size=9, retry_attempts=0)) as db:
        Base.metadata.create_all(db.engine)
        yield db


def count(db: Database, entity: Any) -> int:
    with db.session() as session:
        return int(session.scalar(select(func.count()).select_from(entity)) or 0)


@pytest.mark.parametrize("number", [40, 1_500])
def test_eight_writers_of_the_same_shuffled_keys_do_not_deadlock(busy: Database, number: int) -> None:
    """No unit is run again here: a deadlock would reach the caller."""

    def upsert(seed: int) -> int:
        rows = [{"email": f"{each}@b", "age": seed} for each in range(number)]
        found = 0
        for turn in range(3):
            random.Random(100 * seed + turn).shuffle(rows)
            result = BulkWriter(busy, User).upsert(rows, key=[User.email])
            assert result.written == number
            found += result.inserted
        return found

    with ThreadPoolExecutor(8) as threads:
        inserted = sum(threads.map(upsert, range(8)))
    assert inserted == count(busy, User) == number


@pytest.mark.parametrize("number", [40, 1_500])
@pytest.mark.parametrize("key", ["id", "email"])
def test_eight_writers_update_and_delete_the_same_shuffled_keys_without_a_deadlock(
    busy: Database, number: int, key: str
) -> None:
    """No unit is run again here: a deadlock would reach the caller."""
    rows = [{"id": each + 1, "email": f"{each}@b", "age": -1} for each in random.Random(1).sample(range(number), number)]
    BulkWriter(busy, User).insert(rows)
    with busy.transaction() as session:
        # Rows lie in neither order, and have moved.
        session.execute(text("UPDATE users SET age = -2 WHERE \"e mail\" LIKE '%7%'"))

    def write(seed: int) -> int:
        writer, found = BulkWriter(busy, User), 0
        for turn in range(4):
            mine = random.Random(100 * seed + turn).sample(rows, number)
            if seed == 0 and turn == 3:
                found += writer.delete([row[key] for row in mine[: number // 2]], key=[key]).deleted
            elif seed % 2:
                done = writer.update([{key: row[key], "age": 4 * seed + turn} for row in mine], key=[key])
                assert done.updated + done.missing == number
            else:
                # More than half of the rows: those of two writers overlap, and are not the same.
                some = [{key: row[key], "age": 4 * seed + turn} for row in mine[: 2 * number // 3]]
                writer.update(iter(some), key=[key])
        return found

    with ThreadPoolExecutor(8) as threads:
        deleted = sum(threads.map(write, range(8)))
    assert deleted == number // 2
    assert count(busy, User) == number - deleted


def test_two_tasks_of_one_session_each_in_their_own_order(busy: Database) -> None:
    """In the caller's transaction there is nobody to run it again either."""

    def upsert(seed: int) -> None:
        names = [f"{each:04}" for each in range(800)]
        random.Random(seed).shuffle(names)
        with busy.session() as session, session.begin():
            BulkWriter(session, City).upsert([{"name": name} for name in names], key=[City.name])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(upsert, range(16)))
    assert count(busy, City) == 800


def test_a_lost_connection_is_run_again_where_the_rows_can_be_read_again(pg: Database) -> None:
    class Rows(list[dict[str, Any]]):
        read = 0

        def __iter__(self) -> Iterator[dict[str, Any]]:
            Rows.read += 1
            for number, row in enumerate(super().__iter__()):
                if number == 15_000 and Rows.read == 1:
                    with pg.engine.connect() as other:
                        other.execute(text(KILL))
                yield row

    result = BulkWriter(pg, User).insert(Rows({"email": f"{each}"} for each in range(20_000)))
    assert Rows.read == 2
    assert result.inserted == count(pg, User) == 20_000


def test_a_transaction_for_every_so_many_rows(db: Database) -> None:
    rows = [{"email": f"{each}"} for each in range(10)]
    result = BulkWriter(db, User).insert(iter(rows), commit_every=4, returning=[User.email])
    assert (result.inserted, [row[0] for row in result.rows]) == (10, [row["email"] for row in rows])
    more = [{"email": f"{each}"} for each in range(10, 20)]
    more[5]["email"] = "3"
    with pytest.raises(RowError) as raised:
        BulkWriter(db, User).insert(more, commit_every=4)
    assert raised.value.position == 5
    assert "of the rows from 4 on; those before are committed" in str(raised.value)
    assert count(db, User) == 14
    rejecting = BulkWriter(db, User).upsert(
        [{"email": None}, *more[6:], {"email": None}], key=[User.email], on_error="reject", commit_every=2
    )
    assert [each.position for each in rejecting.rejected] == [0, 5]
    assert BulkWriter(db, User).delete([row["email"] for row in rows], key=[User.email], commit_every=3).deleted == 10


def test_a_callers_transaction_is_not_committed(db: Database) -> None:
    with db.session() as session, pytest.raises(UsageError, match="would commit a transaction that is its caller's"):
        BulkWriter(session, User).insert([], commit_every=4)
    with pytest.raises(UsageError, match="commit_every=0 is no number of rows"):
        BulkWriter(db, User).insert([], commit_every=0)


def test_a_deadline_is_kept(pg: Database) -> None:
    from dal import DeadlineExceeded

    with pg.transaction() as session:
        session.execute(text("ALTER TABLE users ADD CHECK (pg_sleep(0.5)::text = '')"))
    with pytest.raises(DeadlineExceeded), pg.deadline("100ms"):
        BulkWriter(pg, User).insert([{"email": f"{each}"} for each in range(10)])
    assert count(pg, User) == 0


def test_rows_may_be_made_out_of_the_connection_that_writes_them(pg: Database) -> None:
    """A generator that reads from the session, while what it yields is written into it."""
    with pg.session() as session:
        BulkWriter(session, City).insert({"name": f"{each:04}"} for each in range(3_000))
        cities = session.scalars(select(City.name).order_by(City.name).execution_options(yield_per=100))
        rows = ({"email": name, "age": session.scalar(select(func.count()).where(City.name == name))} for name in cities)
        assert BulkWriter(session, User).insert(rows).inserted == 3_000
        session.commit()
    assert count(pg, User) == 3_000
